'use strict';
document.documentElement.classList.add('js');
// One figure: a diagram in two widths, a slider, and the words for the step.
function figure(root) {
  const trace = JSON.parse(root.querySelector('script').textContent);
  const [wide, narrow] = root.querySelectorAll('svg.lanes');
  const cells = [...wide.querySelectorAll('.cell')]
    .map(cell => ({steps: cell.dataset.steps.split(' ').map(Number)}))
    .sort((a, b) => a.steps[0] - b.steps[0]);
  const drawn = [wide, narrow].map(svg => [...svg.querySelectorAll('.cell')]);
  const begun = [...root.querySelectorAll('svg [data-from]')];
  const slider = root.querySelector('input');
  const said = root.querySelector('.said');
  const diagram = root.querySelector('.diagram');
  let at = -1;
  slider.max = cells.length;

  function words(cell, place) {
    const box = document.createDocumentFragment();
    for (const number of cell.steps) {
      const step = trace.steps[number];
      const line = document.createElement('p');
      const who = document.createElement('b');
      who.textContent = trace.lanes[step.cpu].name + ' ';
      const where = document.createElement('span');
      where.className = 'where';
      const irqs = step.irqs_on ? 'interrupts open' : 'interrupts closed';
      const code = step.location ? ', ' + step.location : '';
      where.textContent = ' (' + step.context + ', ' + irqs + code + ')';
      line.append(who, step.text || 'returns', where);
      box.append(line);
    }
    const count = document.createElement('p');
    count.className = 'where';
    count.textContent = place;
    box.prepend(count);
    return box;
  }
  function say(index) {
    if (index < 0) {
      said.textContent = 'All ' + trace.count + ' steps, ' + cells.length + ' of them drawn. Step through them with the slider.';
      return;
    }
    const last = cells[index].steps[cells[index].steps.length - 1];
    said.replaceChildren(words(cells[index], 'Picture ' + (index + 1) + ' of ' + cells.length + ', step ' + (last + 1) + ' of ' + trace.count));
  }
  function show(index, scroll) {
    at = Math.max(-1, Math.min(cells.length - 1, index));
    slider.value = at + 1;
    const now = at < 0 ? Infinity : cells[at].steps[0];
    const key = at < 0 ? '' : cells[at].steps.join(' ');
    for (const set of drawn) for (const cell of set) {
      cell.classList.toggle('here', cell.dataset.steps === key);
      cell.classList.toggle('later', Number(cell.dataset.steps.split(' ')[0]) > now);
    }
    const end = at < 0 ? Infinity : cells[at].steps[cells[at].steps.length - 1];
    for (const thing of begun) thing.classList.toggle('later', Number(thing.dataset.from) > end);
    slider.setAttribute('aria-valuetext', at < 0 ? 'everything' : cells[at].steps.map(s => trace.lanes[trace.steps[s].cpu].name + ' ' + (trace.steps[s].text || 'returns')).join(', '));
    say(at);
    if (scroll && at >= 0) {
      const here = [...root.querySelectorAll('.cell.here')].find(cell => cell.getBoundingClientRect().width > 0);
      if (here) here.scrollIntoView({block: 'nearest', inline: 'nearest'});
    }
  }
  const index = cell => cells.findIndex(c => c.steps.join(' ') === cell.dataset.steps);
  for (const set of drawn) for (const cell of set) {
    cell.addEventListener('mouseenter', () => say(index(cell)));
    cell.addEventListener('mouseleave', () => say(at));
    cell.addEventListener('click', () => { show(index(cell) === at ? -1 : index(cell), false); diagram.focus({preventScroll: true}); });
  }
  slider.addEventListener('input', () => show(Number(slider.value) - 1, false));
  const [first, back, on, last] = root.querySelectorAll('.stepper button');
  first.addEventListener('click', () => show(0, false));
  back.addEventListener('click', () => show(at < 0 ? cells.length - 1 : Math.max(0, at - 1), false));
  on.addEventListener('click', () => show(Math.min(cells.length - 1, at + 1), false));
  last.addEventListener('click', () => show(-1, false));
  diagram.addEventListener('keydown', event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const to = {ArrowDown: at + 1, ArrowRight: at + 1, j: at + 1, ArrowUp: at < 0 ? cells.length - 1 : Math.max(0, at - 1),
      ArrowLeft: at < 0 ? cells.length - 1 : Math.max(0, at - 1), k: at < 0 ? cells.length - 1 : Math.max(0, at - 1), Home: 0, End: cells.length - 1, Escape: -1}[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(Math.min(to, cells.length - 1), true);
  });
  show(-1, false);
}
document.querySelectorAll('.figure').forEach(figure);
