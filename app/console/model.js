// How good the churn model is.

import { byId, h } from "./dom.js";
import { day, number, t } from "./words.js";

let model;

const FIGURES = [["auc", 3], ["ece", 3], ["log_loss", 3], ["labels", 0]];

function drift(value) {
  if (value === null || value === undefined) return t("drift_unknown");
  return value && value !== "none" ? t("drift_yes") : t("drift_no");
}

/** Whether the model has seen outcomes: before, everybody's risk is the same and means nothing. */
export const trusted = () =>
  Boolean(model) && (model.trusted ?? (model.learned ?? model.labels) > 0);

export function redraw() {
  if (model === undefined) return;
  const place = byId("model");
  if (!model || (!model.labels && (model.auc ?? null) === null)) {
    place.replaceChildren(h("p", { class: "none" }, t("model_none")));
    return;
  }
  const drifting = Boolean(model.drift) && model.drift !== "none";
  place.replaceChildren(
    h("dl", { class: "figures" }, FIGURES.map(([key, digits]) => h("div", null,
      h("dt", null, t(key)),
      h("dd", null, h("span", { class: "large" }, number(model[key], digits)),
        h("span", { class: "soft small" }, t(`${key}_about`)))))),
    h("p", { class: "versions" },
      h("span", null, t("model_version"), " ", h("b", null, String(model.version ?? "–"))),
      model.valid_from ? h("span", { class: "soft" }, t("model_since", { at: day(model.valid_from) })) : null,
      h("span", { class: drifting ? "state alarm" : "" },
        t("pair", { what: t("drift"), more: drift(model.drift) }))),
  );
}

export function showModel(told) {
  model = told ?? null;
  redraw();
}
