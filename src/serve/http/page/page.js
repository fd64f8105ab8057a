// Draws the page again whenever the service says that something changed; what is open stays open.
const live = document.getElementById("live");
async function draw() {
  const answer = await fetch("/live");
  if (!answer.ok) return;
  const open = new Set([...live.querySelectorAll("details[open]")].map(name));
  live.innerHTML = await answer.text();
  for (const details of live.querySelectorAll("details")) details.open = open.has(name(details));
}
function name(details) {
  return details.closest("article").querySelector("h3").textContent + details.querySelector("summary").textContent;
}
new EventSource("/v1/stream").addEventListener("departures", draw);
setInterval(draw, 10000);
