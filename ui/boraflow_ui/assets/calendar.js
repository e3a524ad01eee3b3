// A year of days: each a square that says how its runs ended; a click lists them.
// Data: {dag_id, from, to (midnights, ms), offset (ms east of UTC), days: [[ms, {state: n}]], next (ms | null)}.
import { _, ngettext, component, h, ORDER, withParams, word } from "./base.js";

const DAY = 864e5;
const MONTHS = _("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec").split(" ");
const WEEKDAYS = [_("Mon"), "", _("Wed"), "", _("Fri"), "", _("Sun")];

export default component((root) => {
  const months = h("div", { class: "cal-months" });
  const days = h("div", { class: "cal-days", role: "group", "aria-label": _("Days") });
  const sum = h("div", { class: "cal-sum" });
  root.append(h("div", { class: "calendar" }, months,
    h("div", { class: "cal-body" }, h("div", { class: "cal-week" }, WEEKDAYS.map((d) => h("span", {}, d))), days), sum));
  return {
    update(d) {
      const of = new Map(d.days.map(([at, counts]) => [at, counts]));
      const day = (at) => new Date(at + d.offset);
      const weekday = (at) => (day(at).getUTCDay() + 6) % 7;
      const first = d.from - weekday(d.from) * DAY, cells = [], labels = [];
      const most = Math.max(1, ...d.days.map(([, c]) => Object.values(c).reduce((a, b) => a + b, 0)));
      const total = {};
      let month = -1;
      for (let at = first, i = 0; at < d.to; at += DAY, i++) {
        const m = day(at).getUTCMonth();
        if (i % 7 === 0 && m !== month && at >= d.from - 7 * DAY) {
          month = m;
          // Two names do not fit where a month has but a week or two.
          if (labels.length === 1 && i / 7 < 3) labels.pop();
          labels.push(h("span", { style: { "grid-column": `${Math.floor(i / 7) + 1}` } }, MONTHS[m] + (m === 0 ? ` ${day(at).getUTCFullYear()}` : "")));
        }
        if (at < d.from) {
          cells.push(h("span", { class: "cal-none" }));
          continue;
        }
        const counts = of.get(at) ?? {}, n = Object.values(counts).reduce((a, b) => a + b, 0);
        const name = day(at).toISOString().slice(0, 10);
        const el = h(n ? "a" : "span", { class: "cal-day", "data-tip": "", role: n ? null : "img", href: n ? withParams({ tab: "runs", day: name, year: null }) : null, "aria-label": `${name}: ${ngettext("{n} run", "{n} runs", n)}` });
        const next = d.next !== null && d.next >= at && d.next < at + DAY;
        if (next) el.classList.add("next");
        let from = 0;
        for (const s of ORDER.filter((k) => counts[k])) {
          total[s] = (total[s] ?? 0) + counts[s];
          const share = (100 * counts[s]) / n;
          el.append(h("i", { "data-s": s, style: { height: `${share}%`, bottom: `${from}%`, opacity: s === "success" ? 0.4 + (0.6 * n) / most : 1 } }));
          from += share;
        }
        el._tip = () => [name, n ? "" : _("no run"), ...ORDER.filter((k) => counts[k]).map((k) => `${counts[k]} ${word(k)}`), next ? _("the next run is due") : ""].filter(Boolean);
        cells.push(el);
      }
      months.replaceChildren(...labels);
      days.replaceChildren(...cells);
      const all = Object.values(total).reduce((a, b) => a + b, 0);
      sum.replaceChildren(h("b", { class: "num" }, ngettext("{n} run", "{n} runs", all)),
        ...ORDER.filter((k) => total[k]).map((k) => h("span", {}, h("i", { "data-s": k }), `${total[k].toLocaleString("en")} ${word(k)}`)));
    },
  };
});
