/** What an action would do, as the control plane foresees it; asking writes nothing. */
import { usd } from "../format";
import { send } from "./client";
import type { Consequences } from "./types";

/** Lines for a person: what the action is (`plainly`), and what it would do now. */
export async function foreseen(path: string, plainly: string, body?: unknown): Promise<string[]> {
  const found = await send<Consequences>("POST", `${path}/preview`, body);
  if (found.why_not) return [found.why_not];
  const lines = [found.text, plainly, ...(found.lines ?? [])].filter(Boolean).map(sentence);
  return [...new Set(lines), ...money(found.usd_per_hour)];
}

const sentence = (text: string): string => `${text[0]!.toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;

function money(by: number | null | undefined): string[] {
  if (!by) return [];
  return [`The fleet costs ${usd(Math.abs(by))}/h ${by > 0 ? "more" : "less"}.`];
}
