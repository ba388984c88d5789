/** What an action would do, as the control plane foresees it; it writes nothing. */
import { Refused, send } from "./client";

interface Foreseen {
  text?: string;
  lines?: string[];
}

/** Lines for a person: what the action is (`plainly`), and what it would do now. */
export async function foreseen(path: string, plainly: string, body?: unknown): Promise<string[]> {
  try {
    const answer = await send<Foreseen>("POST", `${path}/preview`, body);
    return [plainly, ...(answer.text ? [answer.text] : []), ...(answer.lines ?? [])].filter(Boolean);
  } catch (error) {
    if (error instanceof Refused && [404, 405].includes(error.status)) return [plainly];
    throw error;
  }
}
