// Search box, choices, menus and tags. The page's address is the state: each change is a link.
import { component, go, h, here, icon, reconcile, withParams } from "./base.js";

export default component((root) => {
  const input = h("input", { type: "search", spellcheck: "false", autocomplete: "off" });
  const box = h("label", { class: "search" }, icon("search"), input);
  const choices = h("div", { class: "choices" });
  const menus = h("div", { class: "menus" });
  const tags = h("div", { class: "tagline" });
  root.append(h("div", { class: "filters" }, box, choices, menus, tags));
  let timer = null;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => go(withParams({ q: input.value.trim(), after: null }), { replace: true }), 180);
  });
  input.addEventListener("keydown", (e) => e.stopPropagation());
  const slash = (e) => {
    const t = e.composedPath()[0];
    if (e.key !== "/" || e.ctrlKey || e.metaKey || /^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName ?? "") || t.isContentEditable) return;
    e.preventDefault();
    input.focus();
  };
  document.addEventListener("keydown", slash);
  const menusName = (el, d) => d.menus[[...menus.children].indexOf(el)].name;
  let first = true;
  return {
    update(d) {
      box.hidden = !d.search;
      input.placeholder = d.search ?? "";
      input.setAttribute("aria-label", d.search ?? "");
      if (first || root.getRootNode().activeElement !== input) input.value = here().get("q") ?? "";
      first = false;
      reconcile(choices, d.choices ?? [], (c) => c.name, () => h("div", { class: "pills", role: "group" }), (el, c) => {
        el.setAttribute("aria-label", c.label ?? c.name);
        const now = here().get(c.name) ?? "";
        el.replaceChildren(...c.options.map((o) =>
          h("a", { class: now === (o.value ?? "") ? "on" : "", href: withParams({ [c.name]: o.value, after: null }), "aria-current": now === (o.value ?? "") ? "true" : null },
            o.state ? h("span", { class: "dot", "data-s": o.state }) : "", o.label, o.count !== undefined ? h("span", { class: "count" }, String(o.count)) : "")));
      });
      reconcile(menus, d.menus ?? [], (m) => m.name, (m) => h("select", { "aria-label": m.label, onchange: (e) => go(withParams({ [m.name]: e.currentTarget.value, after: null })) }), (el, m) => {
        const now = here().get(m.name) ?? "";
        el.replaceChildren(...m.options.map((o) => h("option", { value: o.value ?? "", selected: now === (o.value ?? "") }, o.label + (o.count !== undefined ? ` (${o.count})` : ""))));
        el.value = now;
        el.classList.toggle("on", !!now);
      });
      for (const el of menus.children) el.value = here().get(menusName(el, d)) ?? "";
      const on = new Set(here().getAll("tag"));
      tags.hidden = !(d.tags ?? []).length;
      tags.replaceChildren(...(d.tags ?? []).map(([tag, n]) => {
        const next = on.has(tag) ? [...on].filter((t) => t !== tag) : [...on, tag];
        return h("a", { class: `tag ${on.has(tag) ? "on" : ""}`, href: withParams({ tag: next, after: null }) }, tag, h("span", { class: "count" }, String(n)));
      }));
    },
    destroy() {
      clearTimeout(timer);
      document.removeEventListener("keydown", slash);
    },
  };
});
