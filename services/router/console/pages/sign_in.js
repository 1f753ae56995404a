// What somebody without a session sees.
import { signIn } from "../api.js";
import { Notice } from "../parts/basics.js";
import { t } from "../text.js";
import { html, useState } from "../vendor/htm-preact.js";

export function SignIn({ choices }) {
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  async function enter(event) {
    event.preventDefault();
    setBusy(true);
    try {
      await signIn(token);
    } catch (refused) {
      setProblem(refused);
      setBusy(false);
    }
  }
  return html`<main class="alone">
    <form class="card sign-in" onSubmit=${enter}>
      <img src="console/images/icon.svg" alt="" width="44" height="44" />
      <h1>Kinora</h1>
      <label>${t("sign_in.token")}
        <input type="password" autocomplete="current-password" autofocus required value=${token}
          onInput=${(event) => setToken(event.target.value)} /></label>
      <p class="soft">${t("sign_in.hint")}</p>
      <${Notice} problem=${problem} />
      <button class="primary" disabled=${busy}>${t("sign_in.enter")}</button>
      <div class="row">${choices}</div>
    </form>
  </main>`;
}
