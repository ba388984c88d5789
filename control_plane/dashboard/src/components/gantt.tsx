/** Bars over time, one row for each subject: which attempt held which node from when to when. */
import { Tooltip } from "@mantine/core";
import { clock, duration } from "../format";

export interface Bar {
  row: string;
  from: number;
  /** None: it goes on. */
  to: number | null;
  label: string;
  state: "running" | "starting" | "good" | "bad" | "moved";
}

const COLOURS = { running: "#0ca678", starting: "#339af0", good: "#087f5b", bad: "#e03131", moved: "#9775fa" };
const TICKS = 5;

export function Gantt({ bars, now, label }: { bars: Bar[]; now: number; label: string }) {
  if (!bars.length) return null;
  const from = Math.min(...bars.map((bar) => bar.from));
  const to = Math.max(...bars.map((bar) => bar.to ?? now), from + 1);
  const rows = [...new Set(bars.map((bar) => bar.row))];
  const place = (at: number) => `${(100 * (at - from)) / (to - from)}%`;
  const long = to - from > 2 * 86_400;
  const ticks = Array.from({ length: TICKS }, (_, i) => from + ((to - from) * i) / (TICKS - 1));
  return (
    <div className="gantt" role="list" aria-label={label}>
      {rows.map((row) => (
        <div className="gantt-row" key={row} role="listitem">
          <span className="gantt-name">{row}</span>
          <div className="gantt-bars">
            {bars
              .filter((bar) => bar.row === row)
              .map((bar) => {
                const text = `${bar.label}: ${clock(bar.from)} to ${bar.to === null ? "now" : clock(bar.to)}, ${duration((bar.to ?? now) - bar.from)}`;
                return (
                  <Tooltip key={`${bar.label}${bar.from}`} label={text} events={{ hover: true, focus: true, touch: true }}>
                    <span
                      className="gantt-bar"
                      tabIndex={0}
                      role="img"
                      aria-label={text}
                      style={{ left: place(bar.from), width: `max(4px, ${(100 * ((bar.to ?? now) - bar.from)) / (to - from)}%)`, background: COLOURS[bar.state] }}
                    />
                  </Tooltip>
                );
              })}
          </div>
        </div>
      ))}
      <div className="gantt-row" aria-hidden>
        <span className="gantt-name" />
        <div className="gantt-axis">
          {ticks.map((at) => (
            <span key={at}>{long ? new Date(at * 1000).toLocaleDateString(undefined, { month: "short", day: "numeric" }) : clock(at)}</span>
          ))}
        </div>
      </div>
    </div>
  );
}
