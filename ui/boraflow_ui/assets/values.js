// Named values: JSON folded out, lists of records as a table, pictures as pictures, text as it is.
import { component, h, moment, reconcile } from "./base.js";

const PICTURE = /^data:image\/(png|jpeg|gif|webp|svg\+xml);base64,[A-Za-z0-9+/=\s]+$/;

function records(v) {
  return Array.isArray(v) && v.length && v.length <= 500 && v.every((x) => x && typeof x === "object" && !Array.isArray(x)) &&
    Object.keys(v[0]).length <= 30 && v.every((x) => Object.values(x).every((y) => y === null || typeof y !== "object"));
}
function show(item) {
  if (item.text !== undefined) return h("pre", {}, item.text);
  let v;
  try {
    v = JSON.parse(item.json);
  } catch {
    return h("pre", {}, item.json);
  }
  if (typeof v === "string") {
    if (PICTURE.test(v)) return h("img", { src: v, alt: item.name });
    return h("pre", {}, v);
  }
  if (records(v)) {
    const columns = [...new Set(v.flatMap(Object.keys))];
    return h("div", { class: "records" }, h("table", {}, h("thead", {}, h("tr", {}, columns.map((c) => h("th", {}, c)))),
      h("tbody", {}, v.map((x) => h("tr", {}, columns.map((c) => h("td", { class: typeof x[c] === "number" ? "right num" : "" }, x[c] === null || x[c] === undefined ? "" : String(x[c]))))))));
  }
  return h("pre", {}, JSON.stringify(v, null, 2));
}
export default component((root) => {
  const list = h("div", { class: "values" });
  root.append(list);
  return {
    update({ items }) {
      reconcile(list, items, (i) => i.key ?? i.name, () => h("section"), (el, i) => {
        el.replaceChildren(h("div", { class: "valuehead" }, h("code", {}, i.name), i.note ? h("span", { class: "muted" }, i.note) : "", h("span", { class: "grow" }), i.at ? moment(i.at) : ""), show(i));
      });
    },
  };
});
