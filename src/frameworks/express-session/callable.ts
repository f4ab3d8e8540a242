/**
 * A class that can also be called on an object that inherits from it, as constructors were before there was `class`:
 * `Store.call(this, options)` after `util.inherits(MyStore, Store)`.
 */
export function callable<Class extends abstract new (...args: never[]) => object>(base: Class): Class {
  function construct(this: object, ...args: never[]): object | undefined {
    if (new.target !== undefined) return Reflect.construct(base, args, new.target);
    Object.defineProperties(this, Object.getOwnPropertyDescriptors(Reflect.construct(base, args)));
    return undefined;
  }
  Object.defineProperty(construct, "name", { value: base.name.replace(/Base$/, "") });
  Object.defineProperty(base.prototype, "constructor", { value: construct, configurable: true, writable: true });
  construct.prototype = base.prototype;
  return construct as unknown as Class;
}
