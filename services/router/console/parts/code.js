// The same request as a backend would post it: with curl, and as a Go struct.
import { stringify } from "../exact_json.js";

/** The stored request without what was not given. */
const sent = (task) => Object.entries(task.request).filter(([, value]) => value !== null && value !== "");

export function curl(task) {
  const body = stringify(Object.fromEntries(sent(task)), 1).replaceAll("'", `'\\''`);
  return `curl ${location.origin}/api/ai/${task.service} -d '${body}'`;
}

const INITIALS = { id: "ID", url: "URL", fps: "FPS", cn: "CN", en: "EN", ng: "NG" };
const goName = (name) => name.split("_").map((word) => INITIALS[word] ?? word[0].toUpperCase() + word.slice(1)).join("");
const FLOATS = new Set(["reference_face_distance", "duration", "tracking_points"]);
function goType(name, value) {
  if (Array.isArray(value)) return `[]${goType(name, value[0] ?? "")}`;
  return typeof value === "string" ? "string" : FLOATS.has(name) ? "float64" : "int64";
}
const literal = (value) =>
  Array.isArray(value) ? `{${value.map(literal).join(", ")}}` : typeof value === "string" ? JSON.stringify(value) : String(value);
const goValue = (name, value) => (Array.isArray(value) ? goType(name, value) : "") + literal(value);

export function goStruct(task) {
  const type = `${goName(task.service)}Request`;
  const fields = sent(task);
  const width = Math.max(...fields.map(([name]) => goName(name).length));
  const declared = fields.map(([name, value]) =>
    `\t${goName(name).padEnd(width)} ${goType(name, value).padEnd(7)} \`json:"${name}"\``);
  const given = fields.map(([name, value]) => `\t${`${goName(name)}:`.padEnd(width + 1)} ${goValue(name, value)},`);
  return `type ${type} struct {\n${declared.join("\n")}\n}\n\nbody, err := json.Marshal(${type}{\n${given.join("\n")}\n})\n`
    + `// POST ${location.origin}/api/ai/${task.service}`;
}
