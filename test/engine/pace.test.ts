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
  // On a busy machine even an idle loop seems to work at times.
  const whileIdle: boolean[] = [];
  for (let i = 0; i < 2000 && !whileIdle.at(-1); i++) {
    await pause(1);
    whileIdle.push(longer.isOnTheSpot());
  }
  expect(whileIdle.at(-1)).toBe(true);
  expect([unknown, short, long].map((pace) => pace.isOnTheSpot())).toEqual([false, true, false]);
  for (let i = 0; i < 4; i++) short.note(9);
  expect(short.isOnTheSpot()).toBe(false);
  short.note(1);
  expect(short.isOnTheSpot()).toBe(true);
  expect(new Pace(0).isOnTheSpot()).toBe(false);
});

test("runs on the caller's thread are not counted as JavaScript's work", () => {
  const pace = new Pace(2);
  pace.note(3);
  for (let i = 0; i < 40; i++) {
    work(3);
    pace.isOnTheSpot();
  }
  expect(pace.isOnTheSpot()).toBe(false);
  const found: boolean[] = [];
  for (let i = 0; i < 2000 && !found.at(-1); i++) {
    found.push(pace.isOnTheSpot());
    pace.onTheSpot(() => work(3)).next();
  }
  expect(found.at(-1)).toBe(true);
});
