// What the page asks of its server. Where a key is needed, the page's address carries it behind the #.

const key = new URLSearchParams(location.hash.slice(1)).get("key");

async function asked(path, options = {}) {
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("The server does not answer. Nothing is lost: start tlg review again, then try once more.");
  }
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    throw new Error(problem.detail || `The server said ${response.status}.`);
  }
  return response;
}

export const review = async () => (await asked("/api/review")).json();
export const figures = async () => (await asked("/api/figures")).json();
export const picture = async (id) => (await asked(`/api/pictures/${id}`)).json();

export async function image(id) {
  return createImageBitmap(await (await asked(`/api/pictures/${id}/image`)).blob());
}

export async function judge(id, reviewer, verdicts) {
  const body = JSON.stringify({ reviewer, verdicts });
  const headers = { "Content-Type": "application/json" };
  return (await asked(`/api/pictures/${id}/verdicts`, { method: "POST", body, headers })).json();
}
