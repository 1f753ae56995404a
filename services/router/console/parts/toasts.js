// Short messages about what the user has just done.
import { t } from "../text.js";
import { html, useEffect, useState } from "../vendor/htm-preact.js";

const SHOWN_MILLISECONDS = 6000;
let show = () => {};

/** Say something; a Problem is shown as one. */
export const say = (message) => show(message);

/** Do something and say what came of it; true if it worked. */
export async function attempt(work, done) {
  try {
    await work();
    if (done) say(done);
    return true;
  } catch (problem) {
    say(problem);
    return false;
  }
}

export function Toasts() {
  const [messages, setMessages] = useState([]);
  useEffect(() => {
    show = (message) => {
      const entry = { key: crypto.randomUUID(), message };
      setMessages((earlier) => [...earlier.slice(-2), entry]);
      setTimeout(() => setMessages((all) => all.filter((one) => one !== entry)), SHOWN_MILLISECONDS);
    };
  }, []);
  return html`<div class="toasts" role="status" aria-live="polite">
    ${messages.map(({ key, message }) => html`<p key=${key} class=${message instanceof Error ? "bad" : ""}>
      ${message instanceof Error ? message.message || t("problem.unreachable") : message}</p>`)}
  </div>`;
}
