// Draws the page again whenever the service says that something changed; what is open stays open. A service that does not answer is said.
const live = document.getElementById("live");
const lost = document.getElementById("lost");
async function draw() {
  try {
    const answer = await fetch("/live");
    if (!answer.ok) throw new Error(answer.status === 401 ? "you are not logged in any more" : `it answered ${answer.status}`);
    const text = await answer.text();
    const open = new Set([...live.querySelectorAll("details[open]")].map(name));
    live.innerHTML = text;
    for (const details of live.querySelectorAll("details")) details.open = open.has(name(details));
    lost.hidden = true;
  } catch (why) {
    lost.querySelector("span").textContent = why.message;
    lost.hidden = false;
  }
}
function name(details) {
  return details.closest("article").querySelector("h3").textContent + details.querySelector("summary").textContent;
}
new EventSource("/v1/stream").addEventListener("departures", draw);
setInterval(draw, 10000);
