/** Lets work begin only while its costs fit together under a limit; the rest waits in the order it came. */
export class Budget {
  readonly #limit: number;
  readonly #waiting: { readonly cost: number; readonly begin: () => void }[] = [];
  #spent = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Runs the work once it fits. What costs more than the limit runs alone. */
  async spend<Result>(amount: number, work: () => Promise<Result>): Promise<Result> {
    const cost = Math.min(amount, this.#limit);
    await new Promise<void>((begin) => {
      this.#waiting.push({ cost, begin });
      this.#next();
    });
    try {
      return await work();
    } finally {
      this.#spent -= cost;
      this.#next();
    }
  }

  #next(): void {
    for (;;) {
      const [first] = this.#waiting;
      if (first === undefined || this.#spent + first.cost > this.#limit) return;
      this.#waiting.shift();
      this.#spent += first.cost;
      first.begin();
    }
  }
}
