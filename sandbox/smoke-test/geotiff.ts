import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import type { Run } from "../run.ts";

const columns = 600;
const rows = 500;

/** Land cover classes of Dynamic World: 0 water to 8 snow and ice. */
const classes = 9;

/**
 * A small but real result: a classified, georeferenced Cloud Optimized GeoTIFF near Harare (EPSG:32736, 10 m),
 * tiled and with overviews, made by GDAL.
 *
 * @returns the file's path
 */
export async function makeResult(run: Run, directory: string): Promise<string> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const grid = join(directory, "classes.asc");
  const result = join(directory, "result.tif");
  await writeFile(grid, asciiGrid());
  const options =
    "-q -of COG -ot Byte -a_srs EPSG:32736 -co COMPRESS=DEFLATE -co BLOCKSIZE=128 -co RESAMPLING=NEAREST";
  await run("gdal_translate", [...options.split(" "), grid, result]);
  return result;
}

/** Fields with smooth borders and some speckle, the same at each run. */
function asciiGrid(): string {
  const header = [
    `ncols ${columns}`,
    `nrows ${rows}`,
    "xllcorner 290000",
    "yllcorner 8020000",
    "cellsize 10",
    "NODATA_value 255",
  ];
  const lines = Array.from({ length: rows }, (_, row) =>
    Array.from({ length: columns }, (_, column) => {
      const field = Math.sin(row / 37) + Math.cos(column / 53) + Math.sin((row + column) / 91) + 3;
      const speckle = (row * 7919 + column * 104_729) % 17 === 0 ? 1 : 0;
      return Math.floor((field / 6) * (classes - 1) + speckle) % classes;
    }).join(" "),
  );
  return `${[...header, ...lines].join("\n")}\n`;
}
