// What can be done with a task.
import { post } from "./api.js";
import { attempt } from "./parts/toasts.js";
import { idOf } from "./task_words.js";
import { t } from "./text.js";

const act = (task, what, done) =>
  attempt(
    () => post(`tasks/${idOf(task)}/${what}`, { query: { service: task.service, kind: task.kind, id: task.id } }),
    done,
  );

export const cancel = (task) => act(task, "cancel", t("said.cancel"));
export const again = (task) => act(task, "again", t("said.again"));
export const replay = (task) => act(task, "replay", t("said.replay"));
