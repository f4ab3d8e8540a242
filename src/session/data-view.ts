/** What a view asks of the one who made it. */
interface Owner {
  /** A key is read for the first time. */
  read(key: string): unknown;
  /** A key has a value from now on. */
  become(key: string, value: unknown): unknown;
  /** All values, for a log. */
  logged(): object;
}

const OWNER = Symbol("coatcheck.data");

/** The object that handlers know as `session.data`. */
export type View = Record<string, unknown> & { readonly [OWNER]: Owner };

/** All that a view inherits: how `console.log` shows it, which would call keys that nobody has read `[Getter/Setter]`. */
const LOGGED: object = Object.create(null, {
  [Symbol.for("nodejs.util.inspect.custom")]: {
    value(this: View): object {
      return this[OWNER].logged();
    },
  },
});

export function newView(owner: Owner): View {
  const view = Object.create(LOGGED) as View;
  return Object.defineProperty(view, OWNER, { value: owner });
}

/** Applications use the same few keys again and again, and accessors are dear to make. */
const accessors = new Map<string, PropertyDescriptor & ThisType<View>>();
const MAX_ACCESSORS = 1000;
/** Longer keys are seldom the application's own. */
const LONGEST_KEY = 64;

/** A key that is read, or assigned, when somebody asks for it. */
export function accessorOf(key: string): PropertyDescriptor {
  const known = accessors.get(key);
  if (known !== undefined) return known;
  const made: PropertyDescriptor & ThisType<View> = {
    get() {
      return this[OWNER].read(key);
    },
    set(value: unknown) {
      this[OWNER].become(key, value);
    },
    enumerable: true,
    configurable: true,
  };
  if (accessors.size < MAX_ACCESSORS && key.length <= LONGEST_KEY) accessors.set(key, made);
  return made;
}
