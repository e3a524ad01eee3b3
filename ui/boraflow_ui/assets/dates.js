// The dates that a backfill would run, as a row of days: months apart, weeks in columns when there are many.
// Data: {dates: [ms], backwards}.
import { _, component, h, shortStamp, stamp } from "./base.js";

const MOST = 120;

export default component((root) => ({
  update({ dates, backwards }) {
    const order = backwards ? [...dates].reverse() : dates;
    const line = (ms) => h("span", { class: "date num", "data-tip": `${stamp(ms)} UTC` }, stamp(ms).slice(0, 16).replace(" 00:00", ""));
    root.replaceChildren(h("div", { class: "dates", tabindex: "0", role: "region", "aria-label": _("Dates") }, order.slice(0, MOST).map(line),
      order.length > MOST ? h("span", { class: "muted" }, _("… and {n} more, to {day}", { n: (order.length - MOST).toLocaleString("en"), day: shortStamp(order.at(-1)) })) : ""));
  },
}));
