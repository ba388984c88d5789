/** What an action would do, as the control plane foresees it; asking writes nothing. */
import { usd } from "../format";
import { send } from "./client";
import type { Consequences } from "./types";

/** Lines for a person: what the action is (`plainly`), and what it would do now. */
export async function foreseen(path: string, plainly: string, body?: unknown): Promise<string[]> {
  const found = await send<Consequences>("POST", `${path}/preview`, body);
  if (found.why_not) return [found.why_not];
  // What the first sentence says already is not said again.
  const details = (found.lines ?? []).filter((line) => !found.text.includes(line));
  const names = new Set((found.jobs ?? []).map((job) => job.name));
  const lines = [found.text, plainly, ...details].filter(Boolean).map((line) => sentence(line, names));
  return [...new Set(lines), ...money(found.usd_per_hour)];
}

/** With a large letter, unless it begins with a job's name, and a full stop. */
function sentence(text: string, names: Set<string>): string {
  const begins = names.has(text.split(" ", 1)[0]!) ? text : `${text[0]!.toUpperCase()}${text.slice(1)}`;
  return begins.endsWith(".") ? begins : `${begins}.`;
}

function money(by: number | null | undefined): string[] {
  if (!by) return [];
  return [`The fleet costs ${usd(Math.abs(by))}/h ${by > 0 ? "more" : "less"}.`];
}
