import assert from "node:assert/strict";
import { test } from "node:test";
import { fit, toTensor } from "glissade";
import recipe from "./recipe.ts";

test("a few epochs are better than a guess, and a row is predicted", async () => {
  const { setup, options, prediction } = await recipe.prepare({ epochs: 10 });
  const { evaluations } = await fit(setup, { ...options, onEvent: () => {} });
  const accuracy = evaluations.at(-1)?.metrics.accuracy;
  assert.ok(typeof accuracy === "number" && accuracy > 0.6, `accuracy ${accuracy}`);

  const inputs = prediction.rows?.([{ size: 120, rooms: 4, age: 3, district: "hills", heating: "heat pump" }]);
  assert.ok(inputs);
  assert.deepEqual(toTensor(inputs).shape[0], 1);
});

test("a hyperparameter out of bounds is refused", async () => {
  await assert.rejects(recipe.prepare({ learningRate: -1 }), /give a number above 0/);
});
