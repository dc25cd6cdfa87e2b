// What this browser remembers: verdicts in IndexedDB, settings in localStorage. Without either the page works on.

const STORE = "verdicts";
let opened = null;

function database() {
  opened ??= new Promise((done, failed) => {
    const request = indexedDB.open("tlg", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  });
  return opened;
}

async function transact(mode, work) {
  try {
    const store = (await database()).transaction(STORE, mode).objectStore(STORE);
    return await new Promise((done, failed) => {
      const request = work(store);
      request.onsuccess = () => done(request.result);
      request.onerror = () => failed(request.error);
    });
  } catch {
    return undefined;  // a private window, or no room: verdicts then live as long as the page
  }
}

export const readVerdicts = (key) => transact("readonly", (store) => store.get(key));
export const writeVerdicts = (key, verdicts) => transact("readwrite", (store) =>
  Object.keys(verdicts).length ? store.put(verdicts, key) : store.delete(key));

export function readSetting(name, fallback) {
  try { return JSON.parse(localStorage.getItem(`tlg-${name}`)) ?? fallback; } catch { return fallback; }
}

export function writeSetting(name, value) {
  try { localStorage.setItem(`tlg-${name}`, JSON.stringify(value)); } catch { /* see above */ }
}
