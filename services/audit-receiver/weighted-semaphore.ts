/** Lets work begin only while its costs fit together under a limit; the rest waits in the order it came. */
export class WeightedSemaphore {
  readonly #limit: number;
  readonly #waiting: { readonly cost: number; readonly begin: () => void }[] = [];
  #used = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Runs the work once it fits. What costs more than the limit runs alone. */
  async run<Result>(amount: number, work: () => Promise<Result>): Promise<Result> {
    const cost = Math.min(amount, this.#limit);
    await new Promise<void>((begin) => {
      this.#waiting.push({ cost, begin });
      this.#next();
    });
    try {
      return await work();
    } finally {
      this.#used -= cost;
      this.#next();
    }
  }

  #next(): void {
    for (;;) {
      const [first] = this.#waiting;
      if (first === undefined || this.#used + first.cost > this.#limit) return;
      this.#waiting.shift();
      this.#used += first.cost;
      first.begin();
    }
  }
}
