/** A resource, as far as a rule looks at it. */
export interface Subject {
  readonly urn: string;
  readonly type: string;
  readonly name: string;
  readonly props: unknown;
  readonly protect: boolean;
}

/** A breach of a rule. */
export interface Finding {
  readonly subject: Subject;
  readonly message: string;
}

export type Setting = string | number | readonly string[];
export type Config = Readonly<Record<string, Setting>>;

interface RuleText {
  /** Kebab case; what a policy configuration names it by. */
  readonly id: string;
  /** What must be so, in one sentence. */
  readonly description: string;
  /** What happens otherwise. */
  readonly why: string;
  /** Who says so. */
  readonly source: string;
  readonly remedy: string;
  /** `mandatory` stops an update; `advisory` only warns. */
  readonly level: "mandatory" | "advisory";
}

/** A rule of the pack. */
export interface Rule extends RuleText {
  /** Whether it looks at one resource at a time. Those are checked before the resource is touched. */
  readonly scope: "resource" | "stack";
  /** What can be set, and its default. */
  readonly defaults: Config;
  /** @param given settings that differ from the defaults. @throws TypeError when one is of the wrong type. */
  check(subjects: readonly Subject[], given?: Readonly<Record<string, unknown>>): Finding[];
}

/** A rule that each resource must keep by itself. `check` returns what is wrong with one. */
export function resourceRule<C extends Config>(
  rule: RuleText & { readonly defaults: C; check(subject: Subject, config: C): string[] },
): Rule {
  return {
    ...rule,
    scope: "resource",
    check(subjects, given = {}) {
      const config = configure(rule.id, rule.defaults, given);
      return subjects.flatMap((subject) =>
        rule.check(subject, config).map((message) => ({ subject, message })),
      );
    },
  };
}

/** A rule that the stack keeps as a whole. */
export function stackRule<C extends Config>(
  rule: RuleText & { readonly defaults: C; check(subjects: readonly Subject[], config: C): Finding[] },
): Rule {
  return {
    ...rule,
    scope: "stack",
    check: (subjects, given = {}) => rule.check(subjects, configure(rule.id, rule.defaults, given)),
  };
}

function configure<C extends Config>(id: string, defaults: C, given: Readonly<Record<string, unknown>>): C {
  const known = Object.entries(given).filter(([key]) => key in defaults);
  for (const [key, value] of known) {
    const expected = kindOf(defaults[key]);
    if (kindOf(value) !== expected) throw new TypeError(`policy ${id}: "${key}" must be a ${expected}`);
  }
  return Object.assign({}, defaults, Object.fromEntries(known));
}

const kindOf = (value: unknown): string => (Array.isArray(value) ? "list of strings" : typeof value);
