/** Calls to the control plane: one place for the session, the errors and the header against forged requests. */
import type { Page, Problem } from "./types";

/** What the control plane said when it refused; `status` 0 where it could not be reached. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

type Query = Record<string, string | number | boolean | undefined | null>;

/** The address of `path` under /v1, with those of `query` that are set. */
export function address(path: string, query: Query = {}): string {
  const set = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
  const words = new URLSearchParams(set.map(([key, value]) => [key, String(value)]));
  return `/v1${path}${set.length ? `?${words}` : ""}`;
}

/** Fetch with the session's cookie; raises `Refused` with the words of the control plane. */
export async function call(url: string, options: RequestInit = {}): Promise<Response> {
  const headers = new Headers(options.headers);
  headers.set("X-Godwit-Dashboard", "1");
  let answer: Response;
  try {
    answer = await fetch(url, { ...options, headers, credentials: "same-origin" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Refused(0, "The control plane cannot be reached. What you see is as old as it says.");
  }
  if (!answer.ok) throw new Refused(answer.status, await reason(answer));
  return answer;
}

async function reason(answer: Response): Promise<string> {
  try {
    const problem = (await answer.json()) as Problem;
    return problem.detail || problem.title;
  } catch {
    return `${answer.status} ${answer.statusText}`;
  }
}

export async function get<Answer>(path: string, query: Query = {}): Promise<Answer> {
  return (await (await call(address(path, query))).json()) as Answer;
}

/** Send a wish; an empty answer comes back as null. */
export async function send<Answer>(method: "POST" | "PUT" | "DELETE", path: string, body?: unknown): Promise<Answer> {
  const answer = await call(address(path), {
    method,
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  return (text ? JSON.parse(text) : null) as Answer;
}

/** All items of a list, page by page, `limit` at the most: screens say where they stop. */
export async function list<Item>(path: string, query: Query = {}, limit = 1000): Promise<Item[]> {
  const items: Item[] = [];
  let cursor: string | null | undefined;
  do {
    const page: Page<Item> = await get(path, { ...query, limit: Math.min(1000, limit - items.length), cursor });
    items.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor && items.length < limit);
  return items;
}
