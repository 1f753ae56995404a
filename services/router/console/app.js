// The shell: the session, the navigation, and the page that the address names.
import { onSession, resume, signOut } from "./api.js";
import { session as firstSession, words } from "./first.js";
import { listen } from "./live.js";
import { SignIn } from "./pages/sign_in.js";
import { Tasks } from "./pages/tasks.js";
import { Icon, IconButton, Notice } from "./parts/basics.js";
import { Toasts } from "./parts/toasts.js";
import { here, link } from "./route.js";
import { changeLanguage, language, LANGUAGES, t } from "./text.js";
import { applyTheme, theme, THEMES } from "./theme.js";
import { html, render, useEffect, useRef, useState } from "./vendor/htm-preact.js";

const PAGES = [
  { name: "tasks", icon: "list-video" },
  { name: "new", icon: "plus" },
  { name: "faces", icon: "scan-face" },
  { name: "files", icon: "folder" },
  { name: "system", icon: "server" },
];
/** Those that the first look does not wait for: index.html has them loaded behind it. */
const LATER = {
  new: async () => (await import("./pages/new_task.js")).NewTask,
  faces: async () => (await import("./pages/faces.js")).Faces,
  files: async () => (await import("./pages/files.js")).Files,
  system: async () => (await import("./pages/system.js")).System,
  task: async () => (await import("./pages/task.js")).TaskPage,
};
const loaded = { tasks: Tasks };
const THEME_ICONS = { auto: "sun-moon", light: "sun", dark: "moon" };

function App() {
  const [session, setSession] = useState();
  const [problem, setProblem] = useState(null);
  const [, redraw] = useState(0);
  useEffect(() => {
    onSession(setSession);
    const wait = (asked) => asked.then(() => setProblem(null), (refused) => {
      setProblem(refused);
      if (!refused.status) setTimeout(() => wait(resume()), 3000);
    });
    wait(firstSession);
  }, []);
  if (problem) return html`<main class="alone"><${Notice} problem=${problem} /></main>`;
  if (session === undefined) return null;
  const again = () => redraw((count) => count + 1);
  if (session === null) return html`<${SignIn} choices=${html`<${Preferences} onChange=${again} />`} />`;
  return html`<${Shell} session=${session} onChange=${again} /><${Toasts} />`;
}

function Shell({ session, onChange }) {
  const [place, setPlace] = useState(here());
  const main = useRef();
  const wanted = place.parts[0];
  const name = Object.hasOwn(LATER, wanted ?? "") ? wanted : "tasks";
  const [Page, problem] = usePage(name);
  const place_name = place.parts.join("/");
  useEffect(() => {
    const move = () => setPlace(here());
    addEventListener("hashchange", move);
    return () => removeEventListener("hashchange", move);
  }, []);
  useEffect(() => {
    document.title = `${t(name === "task" ? "page.task" : `page.${name}`)} · Kinora`;
    if (document.activeElement?.closest("nav")) return; // the keyboard is walking through the navigation
    main.current?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [place_name]);
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current.focus(); }}>${t("shell.skip")}</a>
    <header class="rail">
      <a class="brand" href=${link(["tasks"])}><img src="console/images/icon.svg" alt="" width="28" height="28" />Kinora</a>
      <nav aria-label=${t("shell.navigation")}>
        ${PAGES.map((one) => html`<a key=${one.name} href=${link([one.name])}
          aria-current=${one.name === name || (name === "task" && one.name === "tasks") ? "page" : null}>
          <${Icon} name=${one.icon} /><span>${t(`page.${one.name}`)}</span></a>`)}
      </nav>
      <div class="foot">
        <${Standing} />
        <div class="row">
          <${Preferences} onChange=${onChange} />
          ${session.token_needed && html`<${IconButton} icon="log-out" label=${t("shell.sign_out")} onClick=${signOut} />`}
        </div>
        <small class="soft">Kinora ${session.version}</small>
      </div>
    </header>
    <main id="main" tabindex="-1" ref=${main}><${Notice} problem=${problem} />${Page && html`<${Page} key=${name} parts=${place.parts.slice(1)} query=${place.query} />`}</main>`;
}

/** The component of a page, nothing for the moment in which its module comes; and why it does not. */
function usePage(name) {
  const [problem, setProblem] = useState(null);
  const [, redraw] = useState(0);
  useEffect(() => {
    setProblem(null);
    if (!loaded[name]) LATER[name]().then((page) => { loaded[name] = page; redraw((count) => count + 1); }, setProblem);
  }, [name]);
  return [loaded[name], problem && { message: "" }];
}

/** How changes arrive, in one word. */
function Standing() {
  const [standing, setStanding] = useState("connecting");
  useEffect(() => listen({ standing: setStanding }), []);
  return html`<span class=${`standing is-${standing}`} role="status">${t(`standing.${standing}`)}</span>`;
}

function Preferences({ onChange }) {
  const now = theme();
  const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
  const change = async (wanted) => {
    await changeLanguage(wanted);
    onChange();
  };
  return html`
    <label class="language"><span class="unseen">${t("shell.language")}</span><${Icon} name="languages" />
      <select value=${language} onChange=${(event) => change(event.target.value)}>
        ${Object.entries(LANGUAGES).map(([code, name]) => html`<option key=${code} value=${code}>${name}</option>`)}
      </select></label>
    <${IconButton} icon=${THEME_ICONS[now]} label=${t("shell.theme", { now: t(`theme.${now}`) })}
      onClick=${() => { applyTheme(next); onChange(); }} />`;
}

applyTheme();
await words;
render(html`<${App} />`, document.getElementById("app"));
