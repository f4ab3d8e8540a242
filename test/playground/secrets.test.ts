import { expect, test } from "vitest";
import { formOf, openShop, type Reply, SEEDED, STRATEGY, Visitor } from "./support.ts";

test("CK-04: the value of the session cookie is nowhere but in Set-Cookie, and scripts cannot read it", async () => {
  const { url } = await openShop();
  const visitor = new Visitor(url);
  const secrets = new Set<string>();
  const replies: Reply[] = [];
  const note = async (answering: Promise<Reply>): Promise<Reply> => {
    const reply = await answering;
    replies.push(reply);
    if (visitor.secret !== "") secrets.add(visitor.secret);
    for (const line of reply.cookies) expect(line).toMatch(/; HttpOnly; SameSite=Lax$/);
    return reply;
  };

  const page = await note(visitor.page("/"));
  await note(visitor.submit("/cart/add", { ...formOf(page, "/cart/add"), quantity: "1" }));
  await note(visitor.post("/register", { username: "grace", password: "long enough" }));
  await note(visitor.post("/login", { username: "grace", password: "wrong password" }));
  await note(visitor.login());
  await note(visitor.login());
  await note(visitor.post("/preferences", { theme: "dark" }));
  await note(visitor.post("/cart/add", { productId: "1", quantity: 1 }));
  for (const path of [
    "/",
    "/login",
    "/register",
    "/cart",
    "/products",
    "/profile",
    "/preferences",
    "/orders",
    "/journey",
  ]) {
    await note(visitor.get(path));
    await note(visitor.page(path));
  }
  const { sessions = [] } = (await note(visitor.get("/sessions"))).json;
  await note(visitor.page("/sessions"));
  await note(visitor.delete(`/sessions/${sessions[0]?.id}x`));
  await note(visitor.delete("/sessions"));
  await note(visitor.get("/checkout/form"));
  await note(visitor.page("/checkout/form/address"));
  await note(visitor.post("/checkout/form/address", {}));
  await note(visitor.post("/checkout"));
  await note(visitor.delete("/cart/1"));
  await note(visitor.post("/login", SEEDED, { "sec-fetch-site": "cross-site" }));
  await note(visitor.submit("/logout", { _csrf: visitor.cookie ?? "" }));
  await note(visitor.page("/nowhere"));
  await note(visitor.post("/logout"));

  if (STRATEGY === "sealed") expect(secrets.size).toBeGreaterThan(3);
  else expect(secrets.size).toBe(3);
  for (const { text, headers } of replies) {
    const { "set-cookie": _, ...others } = headers;
    const everything = text + JSON.stringify(others);
    for (const secret of secrets) expect(everything).not.toContain(secret);
  }
});
