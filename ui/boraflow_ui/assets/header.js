// The head of a page: where we are, what it is and how it stands, what can be done, its tabs.
import { _, component, h, icon, once, reconcile, state, value } from "./base.js";

export default component((root, self) => {
  const crumbs = h("nav", { class: "crumbs", "aria-label": _("Breadcrumbs") });
  const title = h("h1");
  const badges = h("div", { class: "badges" });
  const actions = h("div", { class: "actions" });
  const text = h("p", { class: "lead" });
  const facts = h("dl", { class: "facts" });
  const links = h("nav", { class: "extralinks", "aria-label": _("Links") });
  const tabs = h("nav", { class: "tabs", "aria-label": _("Views") });
  root.append(h("header", { class: "head" },
    crumbs, h("div", { class: "titleline" }, title, badges, h("div", { class: "grow" }), actions), text, facts, links, tabs));
  let last = {};
  const changed = (name, v) => {
    const now = JSON.stringify(v ?? null);
    if (last[name] === now) return false;
    last[name] = now;
    return true;
  };
  return {
    update(d) {
      if (changed("crumbs", d.crumbs)) {
        crumbs.hidden = !d.crumbs?.length;
        crumbs.replaceChildren(...(d.crumbs ?? []).flatMap((c, i) => [
          i ? icon("chevron") : "", c.href ? h("a", { href: c.href }, c.label) : h("span", {}, c.label)]));
      }
      if (changed("title", d.title)) title.textContent = d.title;
      if (changed("text", d.text)) {
        text.hidden = !d.text;
        text.textContent = d.text ?? "";
      }
      if (changed("badges", d.badges)) {
        badges.replaceChildren(...(d.badges ?? []).map((b) =>
          b.state ? state(b.state, b.label) : h(b.href ? "a" : "span", { class: b.tag ? "tag" : `badge ${b.tone ?? ""}`, href: b.href, "data-tip": b.tip }, b.label)));
      }
      if (changed("actions", d.actions)) {
        actions.replaceChildren(...(d.actions ?? []).map((a) =>
          h("button", {
            class: `button ${a.kind ?? ""}`, disabled: a.disabled, title: a.title, type: "button",
            onclick: once(() => self.c.setTriggerValue("action", { id: a.id, at: Date.now() })),
          }, a.icon ? icon(a.icon) : null, a.label)));
      }
      if (changed("facts", d.facts)) {
        facts.hidden = !d.facts?.length;
        reconcile(facts, d.facts ?? [], (f) => f.label,
          (f) => h("div", {}, h("dt", {}, f.label), h("dd")),
          (el, f) => el.lastChild.replaceChildren(value(f.value)));
      }
      if (changed("links", d.links)) {
        links.hidden = !d.links?.length;
        links.replaceChildren(...(d.links ?? []).map((l) => {
          const foreign = /^https?:/.test(l.href);
          return h("a", { class: "button small", href: l.href, target: foreign ? "_blank" : null, rel: foreign ? "noopener noreferrer" : null, title: l.href }, icon(foreign ? "out" : "chevron"), l.label);
        }));
      }
      if (changed("tabs", d.tabs)) {
        tabs.hidden = !d.tabs?.length;
        // What is drawn stays: a link that is replaced while it is pressed is not followed.
        reconcile(tabs, d.tabs ?? [], (t) => t.label, () => h("a"), (a, t) => {
          a.href = t.href;
          a.className = t.on ? "on" : "";
          t.on ? a.setAttribute("aria-current", "page") : a.removeAttribute("aria-current");
          a.replaceChildren(t.label, t.count ? h("span", { class: "count" }, String(t.count)) : "");
        });
      }
    },
  };
});
