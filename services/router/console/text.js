// The words of the page: one catalogue a language in text/, chosen by the browser and switchable.

export const LANGUAGES = { en: "English", zh: "中文" };
const KEPT_AS = "kinora-language";
let words = {};
export let language = preferred();

export async function loadWords(wanted = language) {
  const answer = await fetch(`console/text/${wanted}.json`);
  words = await answer.json();
  language = wanted;
  document.documentElement.lang = wanted === "zh" ? "zh-CN" : "en";
}

export async function changeLanguage(wanted) {
  localStorage.setItem(KEPT_AS, wanted);
  await loadWords(wanted);
}

/** Return the sentence of a key with its `{placeholders}` filled; `known` asks whether there is one. */
export function t(key, values = {}) {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

export const known = (key) => key in words;

function preferred() {
  const kept = localStorage.getItem(KEPT_AS);
  if (kept in LANGUAGES) return kept;
  return navigator.languages.map((tag) => tag.slice(0, 2)).find((tag) => tag in LANGUAGES) ?? "en";
}
