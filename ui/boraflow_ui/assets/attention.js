// What needs somebody: what is broken, why, since when, what it blocks, and what to press.
// Data: {items: [{key, tone, title, href, chip, why, whyHref?, since, facts: [text], strip?, code?, actions: [{id?, href?, label, icon, kind?}]}],
// empty: {title, text}}.
import { _, ago, bothZones, component, h, icon, once, reconcile, span, word } from "./base.js";

function strip(items) {
  const most = Math.max(1, ...items.map((r) => r.d ?? 0));
  return h("span", { class: "strip" }, items.map((r) => {
    const a = h("a", { href: r.href, "data-s": r.s, "data-tip": "", "aria-label": _("Run {name}: {state}", { name: r.id, state: word(r.s) }) });
    a._tip = () => [word(r.s), r.id, bothZones(r.at).split("\n")[0], ...(r.d === null ? [] : [span(r.d)])];
    a.append(h("i", { style: { height: `${r.d === null ? 22 : Math.max(4, Math.round((22 * r.d) / most))}px` } }));
    return a;
  }));
}

export default component((root, self) => {
  const list = h("ul", { class: "attention" });
  const empty = h("div", { class: "at-empty" });
  root.append(list, empty);
  return {
    update(d) {
      empty.hidden = d.items.length > 0;
      empty.replaceChildren(icon("check"), h("div", {}, h("b", {}, d.empty.title), h("p", {}, d.empty.text)));
      list.hidden = !d.items.length;
      reconcile(list, d.items, (i) => i.key, () => h("li"), (el, i) => {
        const open = el.querySelector("details")?.open;
        el.className = i.tone;
        const since = i.since ? h("span", { class: "at-since", "data-tip": bothZones(i.since), "data-tick": "" }) : "";
        if (since) {
          since._tick = () => (since.textContent = _("since {time}", { time: ago(i.since).replace(" ago", "").replace(" 전", "") }));
          since._tick();
        }
        el.replaceChildren(
          h("div", { class: "at-main" },
            h("div", { class: "at-line" }, h("span", { class: "at-chip" }, i.chip), h("a", { href: i.href, class: "strong" }, i.title), since,
              i.facts.map((f) => h("span", { class: "at-fact" }, f))),
            i.why ? h("div", { class: "at-why" }, i.task ? h("a", { href: i.whyHref, class: "mono" }, i.task) : "", h("span", {}, i.why)) : "",
            i.code ? h("details", { open }, h("summary", {}, _("Traceback")), h("pre", {}, i.code)) : ""),
          i.strip?.length ? strip(i.strip) : "",
          h("div", { class: "at-acts" }, i.actions.map((a) =>
            a.href ? h("a", { class: `button small ${a.kind ?? ""}`, href: a.href }, icon(a.icon), a.label)
              : h("button", { class: `button small ${a.kind ?? ""}`, type: "button", onclick: once(() => self.c.setTriggerValue("action", { id: a.id, key: i.key, with: a.with ?? {}, at: Date.now() })) }, icon(a.icon), a.label))));
      });
    },
  };
});
