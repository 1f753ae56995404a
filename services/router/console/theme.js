// Light or dark: as the system says, unless the user has chosen.

export const THEMES = ["auto", "light", "dark"];
const KEPT_AS = "kinora-theme";

export const theme = () => localStorage.getItem(KEPT_AS) ?? "auto";

export function applyTheme(wanted = theme()) {
  localStorage.setItem(KEPT_AS, wanted);
  document.documentElement.dataset.theme = wanted;
}
