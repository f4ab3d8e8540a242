/** What the shop remembers of a visitor. */
export interface Visit {
  cart: CartLine[];
  /** An order that was taken out of the cart and may not have reached the shop's database yet. */
  pendingOrder?: PendingOrder;
  /** What was filled in so far, step by step. */
  form: CheckoutForm;
  preferences: Preferences;
  /** The last pages, the newest at the end. */
  trail: PageView[];
  /** Where a login leads, for a visitor who was sent to it. */
  returnTo?: string;
}

export interface CartLine {
  productId: string;
  quantity: number;
}

export interface PendingOrder {
  id: string;
  userId: string;
  lines: CartLine[];
  details: CheckoutForm;
}

export interface CheckoutForm {
  address?: Record<string, string>;
  delivery?: Record<string, string>;
  payment?: Record<string, string>;
}

export type Preferences = Record<string, unknown>;

export interface PageView {
  path: string;
  /** Milliseconds since 1970. */
  at: number;
}

export const newVisit: Visit = { cart: [], form: {}, preferences: {}, trail: [] };
