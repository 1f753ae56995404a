// What the first look needs of the router: asked for as soon as these few modules are here, before the pages are.
import { resume } from "./api.js";
import { loadWords } from "./text.js";

export const words = loadWords();
export const session = resume();
session.catch(() => {}); // whoever shows it says so
