// Numbers, times and names as people read them, in the language of the page.
import { known, language, t } from "./text.js";

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return t("time.seconds", { count: whole });
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return t("time.minutes", { minutes, seconds: whole % 60 });
  if (minutes < 48 * 60) return t("time.hours", { hours: Math.floor(minutes / 60), minutes: minutes % 60 });
  return t("time.days", { days: Math.floor(minutes / 1440) });
}

export const secondsSince = (moment) => (Date.now() - new Date(moment)) / 1000;

export function ago(moment) {
  const seconds = secondsSince(moment);
  if (seconds < 45) return t("time.now");
  const format = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
  if (seconds < 5400) return format.format(-Math.round(seconds / 60), "minute");
  if (seconds < 129600) return format.format(-Math.round(seconds / 3600), "hour");
  return format.format(-Math.round(seconds / 86400), "day");
}

export const moment = (text) =>
  new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" }).format(new Date(text));

export function bytes(count) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  const power = Math.min(Math.floor(Math.log(Math.max(count, 1)) / Math.log(1000)), 4);
  const digits = power > 1 && count / 1000 ** power < 100 ? 1 : 0;
  return new Intl.NumberFormat(language, {
    style: "unit", unit: units[power], unitDisplay: "short", maximumFractionDigits: digits,
  }).format(count / 1000 ** power);
}

export const number = (value, digits = 0) =>
  new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);

export const percent = (share, digits = 0) =>
  new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: digits }).format(share);

/** Minutes, seconds and hundredths, as a player shows them. */
export function clock(seconds) {
  const whole = Math.max(0, seconds);
  const minutes = Math.floor(whole / 60);
  return `${minutes}:${(whole - 60 * minutes).toFixed(2).padStart(5, "0")}`;
}

export const baseName = (path) => path.slice(path.lastIndexOf("/") + 1);

/** The exact rate of "30000/1001" or "25" as a number; null where it is unknown. */
export function rate(text) {
  const [above, below = "1"] = String(text ?? "").split("/");
  const value = Number(above) / Number(below);
  return value > 0 && Number.isFinite(value) ? value : null;
}

/** A known word of a family of keys, or the value itself. */
export const word = (family, value) => (known(`${family}.${value}`) ? t(`${family}.${value}`) : String(value));
