import type { Request } from "express";
import { browserPreferences } from "./browser-preferences.ts";

/** A text of the shop's pages: the English one is its name. What is not here, such as products and problems, is English. */
export type Text = keyof typeof GERMAN;

/** Puts a text into the visitor's language, and values into its `{placeholders}`. */
export type Translate = (text: Text, values?: Readonly<Record<string, string | number>>) => string;

export type Language = "en" | "de";

export interface Translation {
  readonly language: Language;
  readonly t: Translate;
}

/**
 * The language that was chosen, otherwise the one that the browser asks for.
 *
 * @param chosen the preference of the visitor's account; `undefined` for a visitor without one, whose browser keeps it
 */
export function languageOf(request: Request, chosen = browserPreferences.read(request).language as unknown): Language {
  const asked = () => (request.acceptsLanguages("en", "de") === "de" ? "de" : "en");
  return chosen === "de" || chosen === "en" ? chosen : asked();
}

export function translation(language: Language): Translation {
  return {
    language,
    t: (text, values = {}) =>
      (language === "de" ? GERMAN[text] : text).replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? "")),
  };
}

const GERMAN = {
  Products: "Artikel",
  Cart: "Warenkorb",
  Journey: "Verlauf",
  Orders: "Bestellungen",
  Preferences: "Einstellungen",
  Devices: "Geräte",
  Tokens: "Token",
  "Log in": "Anmelden",
  Register: "Registrieren",
  "Log out {username}": "{username} abmelden",
  Shop: "Laden",
  Account: "Konto",
  "You will be logged out at {time}.": "Sie werden um {time} abgemeldet.",
  "Stay logged in": "Angemeldet bleiben",
  "Colours: {theme}": "Farben: {theme}",
  Colours: "Farben",
  "As the system": "wie das System",
  Light: "hell",
  Dark: "dunkel",
  Language: "Sprache",
  "As the browser": "wie der Browser",
  "News by mail": "Neuigkeiten per Mail",
  Never: "nie",
  "Once a month": "einmal im Monat",
  "Once a week": "einmal in der Woche",
  Save: "Speichern",
  "Saved.": "Gespeichert.",

  "For the way out": "Für den Weg nach draußen",
  Quantity: "Menge",
  "Quantity of {name}": "Menge von {name}",
  Add: "Kaufen",
  "Add {name} to the cart": "{name} in den Korb legen",
  "{name} is in your cart.": "{name} liegt in Ihrem Warenkorb.",

  "Your cart": "Ihr Warenkorb",
  "An order of yours was interrupted.": "Eine Bestellung wurde unterbrochen.",
  "Finish the order": "Bestellung abschließen",
  "Nothing in it yet.": "Noch ist nichts darin.",
  "Look around": "Sehen Sie sich um",
  "Go on looking": "Weiter umsehen",
  "Check out": "Zur Kasse",
  Remove: "Entfernen",
  "Remove {name}": "{name} entfernen",
  Product: "Artikel",
  Price: "Preis",
  Sum: "Summe",
  Total: "Gesamt",

  "Check out: {step}": "Kasse: {step}",
  address: "Adresse",
  delivery: "Lieferung",
  payment: "Zahlung",
  review: "Prüfen",
  Name: "Name",
  "Street and number": "Straße und Hausnummer",
  Postcode: "Postleitzahl",
  City: "Ort",
  Country: "Land",
  Delivery: "Lieferung",
  "Standard, 3 days": "Standard, 3 Tage",
  "Express, tomorrow": "Express, morgen",
  "I come by": "Ich hole es ab",
  Payment: "Zahlung",
  Invoice: "Rechnung",
  "Bank transfer": "Überweisung",
  "Cash at the door": "Bar an der Tür",
  "Back to the cart": "Zurück zum Warenkorb",
  Back: "Zurück",
  Continue: "Weiter",
  "Place the order": "Bestellen",
  "Your cart is empty.": "Ihr Warenkorb ist leer.",
  "Thank you. Your order is placed.": "Danke. Ihre Bestellung ist da.",

  "Your orders": "Ihre Bestellungen",
  "None so far.": "Noch keine.",
  "Order {id}": "Bestellung {id}",

  Username: "Benutzername",
  Password: "Passwort",
  "8 characters or more": "mindestens 8 Zeichen",
  "Remember me on this device": "Auf diesem Gerät angemeldet bleiben",
  "New here?": "Neu hier?",
  "Make an account": "Legen Sie ein Konto an",
  "What is in your cart stays there.": "Was im Warenkorb liegt, bleibt darin.",
  "Have an account?": "Sie haben ein Konto?",
  "Please log in first.": "Bitte melden Sie sich zuerst an.",
  "Please log in again to do this.": "Bitte melden Sie sich dafür noch einmal an.",
  "Good to see you, {username}.": "Schön, dass Sie da sind, {username}.",
  "Your account is ready. You can log in now.": "Ihr Konto ist bereit. Sie können sich jetzt anmelden.",

  "Where you are logged in": "Wo Sie angemeldet sind",
  "This device": "Dieses Gerät",
  "Since {began}, last seen {seen}": "Seit {began}, zuletzt gesehen {seen}",
  ", from the network {ip}": ", aus dem Netz {ip}",
  "Log out there": "Dort abmelden",
  "Logged out there.": "Dort abgemeldet.",
  "Log out everywhere else": "Überall sonst abmelden",
  "Logged out everywhere else.": "Überall sonst abgemeldet.",
  "To end sessions you must have typed your password within the last five minutes.":
    "Um Sitzungen zu beenden, müssen Sie in den letzten fünf Minuten Ihr Passwort eingegeben haben.",

  "Your way through the shop": "Ihr Weg durch den Laden",
  "The last {count} pages that this browser has seen, the newest first. Nobody but you can see them.":
    "Die letzten {count} Seiten, die dieser Browser gesehen hat, die neueste zuerst. Nur Sie können sie sehen.",
  "No page yet.": "Noch keine Seite.",
  "just now": "gerade eben",
  "{count} min ago": "vor {count} Min.",
  "{count} h ago": "vor {count} Std.",
  yesterday: "gestern",
  "{count} days ago": "vor {count} Tagen",

  "A session with tokens": "Eine Sitzung mit Token",
  "Another session of your account, as a client of an API has it: the access token is in this page's memory and nowhere else, the refresh token in a cookie that no script can read. After a reload, or ten minutes, the page gets itself another access token.":
    "Eine weitere Sitzung Ihres Kontos, wie sie ein Client einer Schnittstelle hat: Das Access-Token ist im Speicher dieser Seite und sonst nirgends, das Refresh-Token in einem Cookie, das kein Skript lesen kann. Nach dem Neuladen oder nach zehn Minuten holt sich die Seite ein neues Access-Token.",
  "This page needs JavaScript.": "Diese Seite braucht JavaScript.",
  "State of the session": "Zustand der Sitzung",
  unknown: "unbekannt",
  anonymous: "nicht angemeldet",
  "signed-in": "angemeldet",
  expired: "abgelaufen",
  "User id": "Benutzernummer",
  "Logged in at": "Angemeldet um",
  "Log in for tokens": "Token holen",
  "Fetch the profile": "Profil abrufen",
  "Reload and refresh": "Neu laden und erneuern",
  "End this session": "Diese Sitzung beenden",
  "That did not work.": "Das hat nicht geklappt.",
  "The shop cannot be reached.": "Der Laden ist nicht zu erreichen.",
} as const;
