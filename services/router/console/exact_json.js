// JSON whose whole numbers are exact up to 2^63: those that a double cannot hold are read as BigInt.

export function parse(text) {
  return JSON.parse(text, (_key, value, context) =>
    Number.isInteger(value) && !Number.isSafeInteger(value) && context ? BigInt(context.source) : value);
}

export function stringify(value, space) {
  return JSON.stringify(value, (_key, item) => (typeof item === "bigint" ? raw(item) : item), space);
}

const raw = (number) => (JSON.rawJSON ? JSON.rawJSON(String(number)) : String(number));
