// Starts an episode of a MiniWoB page: `seed`, `again` (the page is kept from the episode before) are given.
const g = window.__agentgym;
if (again) {
  core.endEpisode(0);
  await g.clock.advance(5000); // animations of the last episode come to their end
  // A list of pages that was clicked through keeps the last episode's answer.
  const list = document.getElementById("pagination");
  if (list) list.replaceWith(Object.assign(document.createElement("ul"), { id: "pagination" }));
}
g.clock.reset();
if (document.activeElement && document.activeElement !== document.body) document.activeElement.blur();
if (!again) {
  const style = document.createElement("style"); // the display of rewards and the START screen are for people
  style.textContent = "#reward-display,#click-canvas,#sync-task-cover{display:none!important}";
  document.head.appendChild(style);
  core.startEpisode = () => {}; // an episode that is over is not followed by another one
  core.countdownTimer = () => {};
}
core.EPISODE_MAX_TIME = 2000000000; // no time limit but the environment's steps
WOB_EPISODE_ID = 0;
core.wob_latest = "-";
core.wob_scores = [];
Math.seedrandom(seed);
core.startEpisodeReal();
for (let round = 0; round < 100 && !WOB_TASK_READY; round++) await g.settle(200, 10000);
g.episode = seed;
// The goal is told beside the page; a query that also shows something stays part of it.
const query = document.getElementById("query");
if (query && !query.querySelector("svg,img,canvas,input,button")) g.skip("query"); else g.keep("query");
const told = core.getUtterance();
return typeof told === "string" ? told : told.utterance;
