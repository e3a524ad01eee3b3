// Search box, fields, choices, menus and tags. The page's address is the state: each change is a link.
import { component, go, h, here, icon, reconcile, turns, withParams } from "./base.js";

export default component((root) => {
  const input = h("input", { type: "search", spellcheck: "false", autocomplete: "off" });
  const box = h("label", { class: "search" }, icon("search"), input);
  const choices = h("div", { class: "choices" });
  const menus = h("div", { class: "menus" });
  const tags = h("div", { class: "tagline" });
  const fields = h("div", { class: "menus" });
  root.append(h("div", { class: "filters" }, box, fields, choices, menus, tags));
  let timer = null;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => go(withParams({ q: input.value.trim(), after: null }), { replace: true }), 180);
  });
  input.addEventListener("keydown", (e) => e.stopPropagation());
  // What must be given whole, such as a key: it counts when it is entered, not with each letter.
  const field = (f) => {
    const text = h("input", { type: "search", spellcheck: "false", autocomplete: "off", "aria-label": f.label, placeholder: f.label });
    text.addEventListener("input", () => (text._typed = true));
    text.addEventListener("change", () => {
      text._typed = false;
      go(withParams({ [f.name]: text.value.trim(), after: null }));
    });
    text.addEventListener("keydown", (e) => e.stopPropagation());
    return h("label", { class: "search" }, text);
  };
  const slash = (e) => {
    const t = e.composedPath()[0];
    if (e.key !== "/" || e.ctrlKey || e.metaKey || /^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName ?? "") || t.isContentEditable) return;
    e.preventDefault();
    input.focus();
  };
  document.addEventListener("keydown", slash);
  let first = true;
  return {
    follows: true,
    update(d) {
      box.hidden = !d.search;
      input.placeholder = d.search ?? "";
      input.setAttribute("aria-label", d.search ?? "");
      if (first || root.getRootNode().activeElement !== input) input.value = here().get("q") ?? "";
      first = false;
      // What is chosen stands in the address, and changes what is drawn as the data do.
      const chosen = (list) => (list ?? []).map((one) => ({ ...one, now: here().get(one.name) ?? "" }));
      reconcile(fields, chosen(d.fields), (f) => f.name, field, (el, f) => {
        if (!el.firstChild._typed) el.firstChild.value = f.now;
      });
      fields.hidden = !(d.fields ?? []).length;
      reconcile(choices, chosen(d.choices), (c) => c.name, () => h("div", { class: "pills", role: "group" }), (el, c) => {
        el.setAttribute("aria-label", c.label ?? c.name);
        // What is drawn stays: a link that is replaced while it is pressed is not followed.
        reconcile(el, c.options.map((o) => ({ ...o, on: c.now === (o.value ?? "") })), (o) => o.value ?? "", () => h("a"), (a, o) => {
          a.className = o.on ? "on" : "";
          o.on ? a.setAttribute("aria-current", "true") : a.removeAttribute("aria-current");
          a.replaceChildren(o.state ? h("span", { class: "dot", "data-s": o.state }) : "", o.label, o.count !== undefined ? h("span", { class: "count" }, String(o.count)) : "");
        });
        c.options.forEach((o, i) => turns(el.children[i], { [c.name]: o.value, after: null }));
      });
      reconcile(menus, chosen(d.menus), (m) => m.name, (m) => h("select", { "aria-label": m.label, onchange: (e) => go(withParams({ [m.name]: e.currentTarget.value, after: null })) }), (el, m) => {
        el.replaceChildren(...m.options.map((o) => h("option", { value: o.value ?? "", selected: m.now === (o.value ?? "") }, o.label + (o.count !== undefined ? ` (${o.count})` : ""))));
        el.value = m.now;
        el.classList.toggle("on", !!m.now);
      });
      const on = new Set(here().getAll("tag"));
      tags.hidden = !(d.tags ?? []).length;
      reconcile(tags, (d.tags ?? []).map(([name, n]) => ({ name, n, on: on.has(name) })), (t) => t.name, () => h("a"), (a, t) => {
        a.className = `tag ${t.on ? "on" : ""}`;
        a.replaceChildren(t.name, h("span", { class: "count" }, String(t.n)));
      });
      (d.tags ?? []).forEach(([name], i) => turns(tags.children[i], () => {
        const now = here().getAll("tag");
        return { tag: now.includes(name) ? now.filter((t) => t !== name) : [...now, name], after: null };
      }));
    },
    destroy() {
      clearTimeout(timer);
      document.removeEventListener("keydown", slash);
    },
  };
});
