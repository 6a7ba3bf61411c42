/** On which thread runs are executed. */
import { setTimeout as pause } from "node:timers/promises";
import { expect, test } from "vitest";
import { Pace } from "../../src/engine/node/pace.ts";

/** Keeps JavaScript busy. */
function work(milliseconds: number): void {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}

test("a run is handed over until one was short; a longer one only while JavaScript is busy; several slow ones for good", async () => {
  const [unknown, short, longer, long] = [new Pace(2), new Pace(2), new Pace(2), new Pace(2)];
  short.note(1);
  longer.note(3);
  long.note(5);
  const whileBusy: boolean[][] = [];
  for (let i = 0; i < 40; i++) {
    work(3);
    whileBusy.push([unknown, short, long].map((pace) => pace.isOnTheSpot()));
    work(3);
    whileBusy.push([longer.isOnTheSpot()]);
  }
  expect(whileBusy.slice(-2)).toEqual([[false, true, false], [false]]);
  for (let i = 0; i < 100; i++) {
    await pause(1);
    longer.isOnTheSpot();
  }
  expect([unknown, short, longer, long].map((pace) => pace.isOnTheSpot())).toEqual([false, true, true, false]);
  for (let i = 0; i < 4; i++) short.note(9);
  expect(short.isOnTheSpot()).toBe(false);
  short.note(1);
  expect(short.isOnTheSpot()).toBe(true);
  expect(new Pace(0).isOnTheSpot()).toBe(false);
});

test("runs on the caller's thread are not counted as JavaScript's work", () => {
  const pace = new Pace(2);
  pace.note(3);
  for (let i = 0; i < 100; i++) {
    pace.isOnTheSpot();
    const steps = pace.onTheSpot(() => work(3));
    steps.next();
  }
  expect(pace.isOnTheSpot()).toBe(true);
});
