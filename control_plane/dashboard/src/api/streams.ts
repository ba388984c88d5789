/** Server-sent events over fetch: unlike EventSource it says why it was refused, and waits longer each time. */
import { address, call, Refused } from "./client";

export interface Told {
  kind: string;
  id: string;
  data: string;
}

const WAITS_MS = [500, 1000, 2000, 5000, 10000];

/** Split what has come into whole messages and the rest that is still under way. */
export function messages(buffered: string): { told: Told[]; rest: string } {
  const blocks = buffered.split("\n\n");
  const rest = blocks.pop() ?? "";
  const told: Told[] = [];
  for (const block of blocks) {
    const fields: Told = { kind: "message", id: "", data: "" };
    for (const line of block.split("\n")) {
      if (line.startsWith("event: ")) fields.kind = line.slice(7);
      else if (line.startsWith("id: ")) fields.id = line.slice(4);
      else if (line.startsWith("data: ")) fields.data += line.slice(6);
    }
    if (fields.data) told.push(fields);
  }
  return { told, rest };
}

export interface Listener {
  path: string;
  /** Where to begin: the id of the last message that is known. */
  after?: string;
  onTold: (told: Told) => void;
  /** Whether the line stands; a line that stands again after a break may have missed nothing, thanks to `after`. */
  onLine?: (stands: boolean) => void;
  /** A message after which nothing comes. */
  isLast?: (told: Told) => boolean;
}

/** Listen until the returned function is called. A broken line is taken up again where it ended. */
export function listen(listener: Listener): () => void {
  const stop = new AbortController();
  void follow(listener, stop.signal);
  return () => stop.abort();
}

async function follow(listener: Listener, signal: AbortSignal): Promise<void> {
  let after = listener.after ?? "";
  for (let failures = 0; !signal.aborted; failures++) {
    try {
      const answer = await call(address(listener.path), { signal, headers: after ? { "Last-Event-ID": after } : {} });
      listener.onLine?.(true);
      for await (const told of read(answer)) {
        failures = 0;
        after = told.id || after;
        listener.onTold(told);
        if (listener.isLast?.(told)) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && [401, 403, 404].includes(error.status)) {
        listener.onLine?.(false);
        return;
      }
    }
    listener.onLine?.(false);
    await pause(WAITS_MS[Math.min(failures, WAITS_MS.length - 1)] ?? 10000, signal);
  }
}

async function* read(answer: Response): AsyncGenerator<Told> {
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
  let buffered = "";
  while (reader) {
    const { value, done } = await reader.read();
    if (done) return;
    const { told, rest } = messages(buffered + value);
    buffered = rest;
    yield* told;
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
