// Stands at the end of what refreshes by itself, and is given how new that is: what came before it is on screen.
import { component, panel } from "./base.js";

export default component(() => ({
  update({ version }) {
    panel.version = version;
  },
}));
