// An application as there are many: Express, passport, connect-flash, csurf, forms. It knows nothing of coatcheck; the
// package that it gets its sessions from is handed in, where others have `require("express-session")`.
const csurf = require("csurf");
const flash = require("connect-flash");
const passport = require("passport");
const { Strategy } = require("passport-local");

const users = [
  { id: 1, name: "ada", password: "countess" },
  { id: 2, name: "bob", password: "builder" },
];

module.exports = function createApp({ express, session, store }) {
  const app = express();
  const auth = new passport.Passport();
  auth.use(
    new Strategy((username, password, done) => {
      const user = users.find(({ name }) => name === username);
      if (user?.password !== password) return done(null, false, { message: "Wrong name or password." });
      return done(null, user);
    }),
  );
  auth.serializeUser((user, done) => done(null, user.id));
  auth.deserializeUser((id, done) => done(null, users.find((user) => user.id === id) || false));

  app.use(express.urlencoded({ extended: false }));
  app.use(
    session({
      secret: ["keyboard cat of this year", "keyboard cat of last year"],
      name: "app.sid",
      store,
      resave: false,
      saveUninitialized: false,
      cookie: { maxAge: 3_600_000, sameSite: "lax" },
    }),
  );
  app.use(auth.initialize());
  app.use(auth.session());
  app.use(flash());
  app.use(csurf());

  const page = (request, response, text) => {
    const said = Object.values(request.flash()).flat();
    const field = `<input type="hidden" name="_csrf" value="${request.csrfToken()}">`;
    response.type("html").send(`<p>${[...said, text].join("</p><p>")}</p><form method="post">${field}</form>`);
  };
  const forUsers = (request, response, next) => {
    if (request.isAuthenticated()) return next();
    request.flash("error", "Please log in.");
    response.redirect("/login");
  };

  app.get("/", (request, response) => {
    request.session.views = (request.session.views || 0) + 1;
    page(request, response, `views: ${request.session.views}`);
  });
  app.get("/login", (request, response) => page(request, response, "login"));
  app.post(
    "/login",
    auth.authenticate("local", { failureRedirect: "/login", failureFlash: true, keepSessionInfo: true }),
    (request, response) => {
      if (request.body.remember) request.session.cookie.maxAge = 30 * 24 * 3_600_000;
      request.flash("info", `Welcome, ${request.user.name}.`);
      response.redirect("/profile");
    },
  );
  app.get("/profile", forUsers, (request, response) => {
    page(request, response, `${request.user.name}, views: ${request.session.views || 0}`);
  });
  app.post("/cart", (request, response) => {
    request.session.cart = request.session.cart || [];
    request.session.cart.push({ product: request.body.product, quantity: Number(request.body.quantity) });
    request.session.save((error) => {
      if (error) return response.status(500).end();
      response.redirect(303, "/cart");
    });
  });
  app.get("/cart", (request, response) => response.json(request.session.cart || []));
  app.get("/export", forUsers, (request, response) => {
    response.writeHead(200, { "Content-Type": "text/csv" });
    for (const { product, quantity } of request.session.cart || []) response.write(`${product},${quantity}\n`);
    response.end();
  });
  app.post("/logout", (request, response, next) => {
    request.logout((error) => {
      if (error) return next(error);
      request.flash("info", "Good bye.");
      response.redirect("/login");
    });
  });
  app.post("/forget", (request, response, next) => {
    request.session.destroy((error) => {
      if (error) return next(error);
      response.clearCookie("app.sid").redirect("/");
    });
  });
  app.use((error, _request, response, _next) => response.status(error.status || 500).send(error.message));
  return app;
};
