// What holds for every page: the zone of times, the language, who is signed in. Kept in cookies, so that the server
// knows the language before it draws, and a link pasted elsewhere does not carry them.
// Data: {language, languages: {code: name}, user: {name, role} | null}.
import { _, component, cookie, h, icon, ownZone, zone } from "./base.js";
import { keys } from "./keys.js";
import { native } from "./native.js";

function keep(name, value) {
  document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=lax`;
  location.reload();
}

export default component((root) => {
  native();
  const box = h("div", { class: "menu" });
  const otherZone = () => keep("bora_zone", cookie("bora_zone") === "local" ? "utc" : "local");
  const shortcuts = keys(otherZone);
  root.append(box, shortcuts.list);
  return {
    update({ language, languages, user }) {
      const zones = h("button", {
        class: "menubutton", type: "button", "aria-pressed": String(ownZone),
        "aria-label": ownZone ? _("Times are local; show UTC") : _("Times are UTC; show local times"),
        "data-tip": ownZone ? _("Times in {zone}\nClick for UTC", { zone }) : _("Times in UTC\nClick for {zone}", { zone }),
        onclick: otherZone,
      }, icon("clock"), ownZone ? _("Local") : "UTC");
      const choice = h("select", { class: "menubutton", "aria-label": _("Language"), onchange: (e) => keep("bora_language", e.target.value) },
        Object.entries(languages).map(([code, name]) => h("option", { value: code, selected: code === language, lang: code }, name)));
      box.replaceChildren(shortcuts.button, zones, choice,
        user ? h("span", { class: "whoami", "data-tip": _("Signed in as {name}\nRole: {role}", user) }, icon("user"), user.name) : "",
        h("a", {
          class: "menubutton", href: user ? "logout" : "login", "data-reload": "",
          // Back to this very view after signing in.
          onclick: (e) => !user && (e.currentTarget.search = `?next=${encodeURIComponent((location.pathname.split("/").pop() || ".") + location.search)}`),
        }, user ? _("Sign out") : _("Sign in")));
    },
    destroy: shortcuts.destroy,
  };
});
