// Replaces the parts of the page that changed, at each event of the service. Open details stay open, and the focus stays where it is.
const lost = document.getElementById("lost");
const over = document.getElementById("over");
const shown = new Map([...document.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part.innerHTML]));
let asked = 0;
let answered = 0;
let stream;

async function draw() {
  const turn = (asked += 1);
  let text, trouble;
  try {
    const answer = await fetch("/live");
    if (answer.ok) text = await answer.text();
    else trouble = { status: answer.status, message: `it answered ${answer.status}` };
  } catch (why) {
    trouble = why;
  }
  // A later request was answered first, so this answer is older than the page.
  if (turn < answered) return;
  answered = turn;
  if (trouble) say(trouble);
  else show(text);
}

function show(text) {
  const fresh = document.createElement("template");
  fresh.innerHTML = text;
  for (const part of fresh.content.querySelectorAll("[data-part]")) {
    const name = part.dataset.part;
    if (shown.get(name) === part.innerHTML) continue;
    shown.set(name, part.innerHTML);
    put(document.querySelector(`[data-part="${name}"]`), part);
  }
  const status = fresh.content.querySelector("[data-part=status]");
  if (status?.dataset.title) document.title = status.dataset.title;
  lost.hidden = over.hidden = true;
  if (stream.readyState === EventSource.CLOSED) listen();
}

function put(part, fresh) {
  const open = new Set([...part.querySelectorAll("details[open]")].map((details) => details.dataset.name));
  const focused = part.contains(document.activeElement) && document.activeElement.closest("[data-name]");
  part.replaceChildren(...fresh.childNodes);
  for (const named of part.querySelectorAll("[data-name]")) {
    if (named.localName === "details") named.open = open.has(named.dataset.name);
    if (focused && focused.dataset.name === named.dataset.name) (named.querySelector("summary") ?? named).focus({ preventScroll: true });
  }
}

function say(trouble) {
  over.hidden = trouble.status !== 401;
  lost.hidden = !over.hidden;
  const why = lost.querySelector("span");
  if (why.textContent !== trouble.message) why.textContent = trouble.message;
}

function listen() {
  stream = new EventSource("/v1/stream");
  stream.addEventListener("departures", draw);
}

listen();
setInterval(draw, 10000);
