/** Lines and stacked areas over time, drawn by uPlot; the figures under the pointer stand in the legend. */
import { useComputedColorScheme } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import { figure } from "../format";

export interface Line {
  label: string;
  values: (number | null)[];
  colour: string;
  /** Steps stay until the next value, as prices and counts do. */
  isStepped?: boolean;
}

interface Shown {
  /** Seconds since the epoch, growing. */
  at: number[];
  lines: Line[];
  label: string;
  height?: number;
  /** Areas on top of each other, the first line lowest. */
  isStacked?: boolean;
  format?: (value: number) => string;
}

export function Chart({ at, lines, label, height = 220, isStacked, format = figure }: Shown) {
  const { ref, width } = useElementSize();
  const holder = useRef<HTMLDivElement>(null);
  const isDark = useComputedColorScheme("light") === "dark";
  useEffect(() => {
    if (!holder.current || width < 50 || !at.length) return;
    const sums = isStacked ? stacked(lines) : lines.map((line) => line.values);
    const plot = new uPlot(options(lines, sums, { width, height, isDark, isStacked, format }), [at, ...drawn(sums, isStacked)] as uPlot.AlignedData, holder.current);
    return () => plot.destroy();
  }, [at, lines, width, height, isDark, isStacked, format]);
  return (
    <figure ref={ref} className="chart" aria-label={`${label}. ${spoken(lines, format)}`} style={{ margin: 0 }}>
      <div ref={holder} style={{ minHeight: height }} />
    </figure>
  );
}

/** What the chart says to those who do not see it: where each line ends. */
const spoken = (lines: Line[], format: (value: number) => string): string =>
  lines
    .map((line) => {
      const last = line.values.filter((value) => value !== null).at(-1);
      return last === undefined ? `${line.label}: nothing` : `${line.label}: ${format(last as number)} at the end`;
    })
    .join("; ");

function stacked(lines: Line[]): number[][] {
  const below = new Array<number>(lines[0]?.values.length ?? 0).fill(0);
  return lines.map((line) => line.values.map((value, i) => (below[i] = (below[i] ?? 0) + (value ?? 0))));
}

/** Areas are drawn from the highest to the lowest, so that each leaves only its own band. */
const drawn = (sums: (number | null)[][], isStacked?: boolean) => (isStacked ? [...sums].reverse() : sums);

function options(
  lines: Line[],
  _sums: (number | null)[][],
  look: { width: number; height: number; isDark: boolean; isStacked?: boolean; format: (value: number) => string },
): uPlot.Options {
  const stroke = look.isDark ? "#c1c5c9" : "#495057";
  const grid = { stroke: look.isDark ? "#3a3d41" : "#e6e8ea", width: 1 };
  const font = '12px system-ui, "DejaVu Sans", sans-serif';
  const stepped = uPlot.paths.stepped?.({ align: 1 });
  const series = lines.map((line): uPlot.Series => ({
    label: line.label,
    stroke: line.colour,
    width: look.isStacked ? 1 : 2,
    fill: look.isStacked ? line.colour : undefined,
    paths: line.isStepped ? stepped : undefined,
    spanGaps: true,
    points: { show: line.values.length < 3 },
    value: (_plot, _value, _series, index) => {
      const own = index === null ? line.values.filter((value) => value !== null).at(-1) : line.values[index];
      return own === null || own === undefined ? "–" : look.format(own);
    },
  }));
  return {
    width: look.width,
    height: look.height,
    padding: [12, 28, 0, 0],
    legend: { live: true },
    cursor: { drag: { x: false, y: false } },
    scales: { y: { range: (_plot, low, high) => [Math.min(0, low ?? 0), (high ?? 0) > 0 ? (high as number) * 1.05 : 1] } },
    axes: [
      { stroke, grid, font, values: times, space: 84 },
      { stroke, grid, font, size: (_plot, labels) => axisWidth(labels), values: (_plot, ticks) => ticks.map(look.format) },
    ],
    series: [{ label: "at", value: (plot, value) => moment(value ?? plot.data[0].at(-1)) }, ...(look.isStacked ? series.reverse() : series)],
  };
}

const MARK_PX = 20;
const LETTER_PX = 7.5;

/** Room for the longest label beside the axis: letters of 12 pixels are no wider than this. */
const axisWidth = (labels: string[] | null): number =>
  Math.max(48, MARK_PX + LETTER_PX * Math.max(0, ...(labels ?? []).map((label) => label.length)));

/** The instant whose figures the legend shows: under the pointer, else the last one. */
const moment = (at: number | null | undefined): string =>
  at ? new Date(at * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium", hour12: false }) : "–";

/** Times of the day; days where the axis is longer than two. */
function times(plot: uPlot, ticks: number[]): string[] {
  const { min = 0, max = 0 } = plot.scales.x ?? {};
  const long = (max ?? 0) - (min ?? 0) > 2 * 86_400;
  const short = (max ?? 0) - (min ?? 0) < 1200;
  return ticks.map((at) => {
    const when = new Date(at * 1000);
    if (long) return when.toLocaleDateString(undefined, { month: "short", day: "numeric" });
    return when.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", second: short ? "2-digit" : undefined, hour12: false });
  });
}

const COLOURS = ["#1c7ed6", "#f76707", "#0ca678", "#ae3ec9", "#e03131", "#f59f00", "#3b5bdb", "#74b816", "#c2255c", "#868e96"];

/** The colour of the n-th line of a chart. */
export const lineColour = (n: number): string => COLOURS[n % COLOURS.length]!;
