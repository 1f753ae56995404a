// The same request as a backend would post it: with curl, and as a Go struct.
import { stringify } from "../exact_json.js";

/** The fields of an object without what was not given. */
const given = (object) => Object.entries(object).filter(([, value]) => value !== null && value !== "");
const sent = (task) => given(task.request);

export function curl(task) {
  const body = stringify(Object.fromEntries(sent(task)), 1).replaceAll("'", `'\\''`);
  return `curl ${location.origin}/api/ai/${task.service} -d '${body}'`;
}

const INITIALS = { id: "ID", url: "URL", fps: "FPS", cn: "CN", en: "EN", ng: "NG" };
const goName = (name) => name.split("_").map((word) => INITIALS[word] ?? word[0].toUpperCase() + word.slice(1)).join("");
const FLOATS = new Set(["reference_face_distance", "duration", "tracking_points"]);
function goType(name, value) {
  if (Array.isArray(value)) return `[]${goType(name, value[0] ?? "")}`;
  if (typeof value === "object") return "map[string]any";
  return typeof value === "string" ? "string" : FLOATS.has(name) ? "float64" : "int64";
}
const literal = (value) =>
  Array.isArray(value) ? `{${value.map(literal).join(", ")}}` : typeof value === "string" ? JSON.stringify(value)
    : typeof value === "object" ? `{${given(value).map(([name, one]) => `${JSON.stringify(name)}: ${literal(one)}`).join(", ")}}` : String(value);
const goValue = (name, value) => (Array.isArray(value) ? goType(name, value) : "") + literal(value);

export function goStruct(task) {
  const type = `${goName(task.service)}Request`;
  const fields = sent(task);
  const width = Math.max(...fields.map(([name]) => goName(name).length));
  const declared = fields.map(([name, value]) =>
    `\t${goName(name).padEnd(width)} ${goType(name, value).padEnd(7)} \`json:"${name}"\``);
  const values = fields.map(([name, value]) => `\t${`${goName(name)}:`.padEnd(width + 1)} ${goValue(name, value)},`);
  return `type ${type} struct {\n${declared.join("\n")}\n}\n\nbody, err := json.Marshal(${type}{\n${values.join("\n")}\n})\n`
    + `// POST ${location.origin}/api/ai/${task.service}`;
}
