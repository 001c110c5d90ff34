// Calls of the server's own API. Errors are sentences of the server, or say that it cannot be reached.

let token = sessionStorage.getItem("instructseg-token") ?? "";

export class Failure extends Error {
  constructor(message, status) { super(message); this.status = status; }
}

export function setToken(value) {
  token = value;
  sessionStorage.setItem("instructseg-token", value);
}

export async function call(path, { method = "GET", form, json, signal } = {}) {
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (json) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, signal, body: form ?? (json && JSON.stringify(json)) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("The server cannot be reached. Check that it runs, then try again.", 0);
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  const wait = response.headers.get("Retry-After");
  const later = response.status === 503 && wait ? ` Try again in ${wait} s.` : "";
  throw new Failure((body?.error?.message ?? `The server answered ${response.status}.`) + later, response.status);
}

export const getJson = async (path, options) => (await call(path, options)).json();

export function formOf(name, file, fields) {
  const form = new FormData();
  form.append(name, file, "upload");
  for (const [key, value] of Object.entries(fields)) {
    for (const item of [value].flat()) if (item !== "" && item !== null) form.append(key, item);
  }
  return form;
}

export function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
