// Calls to the endpoint: the key of this tab, patience when it is busy, problems as errors with their detail.

const PATIENCE = 6;
const wait = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

function askForKey() {
  const dialog = document.getElementById("key-dialog");
  if (dialog.open) return new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", () => {
    if (dialog.returnValue === "use") sessionStorage.setItem("tlg-key", document.getElementById("key").value);
    document.getElementById("key").value = "";
    done();
  }, { once: true }));
}

export async function call(method, path, body) {
  for (let attempt = 0; ; attempt++) {
    const key = sessionStorage.getItem("tlg-key");
    let answer;
    try {
      answer = await fetch(path, { method, body, headers: key ? { "X-API-Key": key } : {} });
    } catch {
      throw new Error("The endpoint cannot be reached.");
    }
    if (answer.ok) return answer;
    if (answer.status === 401 && attempt < PATIENCE) { await askForKey(); continue; }
    if ([429, 503].includes(answer.status) && attempt < PATIENCE) {
      await wait(Number(answer.headers.get("Retry-After")) || 1);
      continue;
    }
    const problem = await answer.json().catch(() => ({}));
    throw new Error(problem.detail || `The endpoint answered ${answer.status}.`);
  }
}
