// What Streamlit itself puts on the page, said in the reader's language and reached by keyboard: it has no setting for
// either. Our own components live in shadow roots, which this never sees.
import { _, language } from "./base.js";

const WORDS = new Map([
  ["Skip to main content", _("Skip to main content")], ["App pages", _("Pages")], ["Close", _("Close")],
  ["Choose date", _("Choose date")], ["Choose an option", _("Choose an option")], ["Choose options", _("Choose options")],
  ["Choose or add an option", _("Choose or add an option")], ["Choose or add options", _("Choose or add options")], ["Open", _("Open")],
  ["Increment", _("One more")], ["Decrement", _("One less")], ["Show password", _("Show the password")],
  ["Hide password", _("Hide the password")], ["file upload", _("File upload")], ["Upload", _("Upload")], ["Browse files", _("Browse files")],
  ["Clear value", _("Clear the value")], ["Copy to clipboard", _("Copy to the clipboard")], ["Fullscreen", _("Full screen")],
  ["Press Enter to apply", _("Press Enter to apply")], ["Press Ctrl+Enter to apply", _("Press Ctrl+Enter to apply")],
  ["Press ⌘+Enter to apply", _("Press ⌘+Enter to apply")], ["Please enter a valid date", _("Please enter a valid date")],
  ["No results", _("No results")], ["yyyy", _("yyyy")], ["mm", _("mm")], ["dd", _("dd")],
]);
const PATTERNS = [
  [/^Help for (?<name>.+)$/, (m) => _("Help for {name}", m)],
  [/^year, (?<name>.+)$/, (m) => _("{name}: year", m)],
  [/^month, (?<name>.+)$/, (m) => _("{name}: month", m)],
  [/^day, (?<name>.+)$/, (m) => _("{name}: day", m)],
  [/^hour, (?<name>.+)$/, (m) => _("{name}: hour", m)],
  [/^minute, (?<name>.+)$/, (m) => _("{name}: minute", m)],
  [/^(?<size>\d+\s?[MG]B) per file(?<kinds>.*)$/, (m) => _("{size} per file{kinds}", m)],
  [/^Limit (?<size>\d+\s?[MG]B) per file(?<kinds>.*)$/, (m) => _("{size} per file{kinds}", m)],
];
const NAMED = ["aria-label", "placeholder", "title"];
// Where its words stand as text; elsewhere text is ours, or somebody's data.
const SPOKEN = '[data-testid="stFileUploader"], [data-testid="InputInstructions"], .react-aria-DateField, .react-aria-ListBox, a[href^="#"]';

function said(text) {
  const plain = text.trim();
  if (WORDS.has(plain)) return WORDS.get(plain);
  for (const [pattern, say] of PATTERNS) {
    const m = pattern.exec(plain);
    if (m) return say(m.groups);
  }
  return null;
}
function name(el) {
  for (const a of NAMED) {
    const now = el.getAttribute(a), then = now && said(now);
    if (then && then !== now) el.setAttribute(a, then);
  }
}
function speak(node) {
  if (!node.parentElement?.closest(SPOKEN)) return;
  const then = said(node.data);
  if (then && then !== node.data) node.data = then;
}
function reach(el) {
  for (const pre of el.querySelectorAll('[data-testid="stCode"] pre')) pre.tabIndex = 0;
}
function read(el) {
  reach(el.parentElement ?? el);
  if (language === "en") return;
  name(el);
  for (const one of el.querySelectorAll(NAMED.map((a) => `[${a}]`).join())) name(one);
  const texts = document.createTreeWalker(el, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) speak(texts.currentNode);
}

// A dialog tells that it was closed only when it has faded. Who went on to another page by then is answered with the page
// that it stood on, of which nothing is left: ask again for the one that the address names.
const PANEL = ".st-key-banner"; // what the panel of every page begins with
let timer = 0, asked = "";
function whole() {
  if (document.querySelector(PANEL)) asked = "";
  else timer ||= setTimeout(look, 250);
}
function look() {
  timer = 0;
  const app = document.querySelector('[data-testid="stApp"]')?.dataset;
  if (document.querySelector(PANEL) || asked === location.href) return;
  if (app?.testConnectionState === "CONNECTED" && app.testScriptState === "notRunning") {
    // Once: a page that fails would fail again.
    asked = location.href;
    window.dispatchEvent(new PopStateEvent("popstate", { state: {} }));
  } else whole();
}

// Once for the tab.
export function native() {
  if (document.documentElement.hasAttribute("data-bora")) return;
  document.documentElement.setAttribute("data-bora", "");
  document.documentElement.lang = language;
  read(document.body);
  new MutationObserver((changes) => {
    whole();
    for (const c of changes) {
      if (c.type === "attributes") name(c.target);
      else if (c.type === "characterData") speak(c.target);
      for (const node of c.addedNodes) node.nodeType === Node.ELEMENT_NODE ? read(node) : node.nodeType === Node.TEXT_NODE && language !== "en" && speak(node);
    }
  }).observe(document.body, { subtree: true, childList: true, ...(language === "en" ? {} : { attributes: true, attributeFilter: NAMED, characterData: true }) });
}
