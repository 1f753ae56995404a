// Two videos as one: the leader's time counts, the follower is kept in step with it.
const STEP_SECONDS = 0.02; // out of step by less is not seen
const JUMP_SECONDS = 0.35; // further apart than this it is quicker to seek than to catch up

export class Playback {
  /** `rate` is the leader's frame rate or null; `changed()` is called when something that is shown has changed. */
  constructor(leader, follower, rate, changed) {
    this.leader = leader;
    this.follower = follower;
    this.rate = rate ?? 25;
    this.changed = changed;
    this.leader.addEventListener("ended", this.restart);
    this.leader.addEventListener("seeked", changed);
    this.leader.addEventListener("loadedmetadata", changed);
    this.watching = requestAnimationFrame(this.watch);
  }

  close() {
    cancelAnimationFrame(this.watching);
    this.leader.removeEventListener("ended", this.restart);
    this.leader.removeEventListener("seeked", this.changed);
    this.leader.removeEventListener("loadedmetadata", this.changed);
  }

  get playing() {
    return !this.leader.paused;
  }

  get time() {
    return this.leader.currentTime;
  }

  get duration() {
    return this.leader.duration || 0;
  }

  get frame() {
    return Math.floor(this.time * this.rate + 0.01);
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  play() {
    this.follower?.play().catch(() => {});
    this.leader.play().catch(() => {});
    this.changed();
  }

  pause() {
    this.leader.pause();
    this.follower?.pause();
    this.seek(this.time);
  }

  seek(seconds) {
    const time = Math.min(Math.max(seconds, 0), Math.max(this.duration - 0.001, 0));
    this.leader.currentTime = time;
    if (this.follower) {
      this.follower.playbackRate = 1;
      this.follower.currentTime = Math.min(time, Math.max((this.follower.duration || time) - 0.001, 0));
    }
    this.changed();
  }

  /** Go to the middle of the frame so many further: a seek to its very beginning may show the one before. */
  step(frames) {
    this.leader.pause();
    this.follower?.pause();
    this.seek((this.frame + frames + 0.5) / this.rate);
  }

  restart = () => {
    this.seek(0);
    this.play();
  };

  watch = () => {
    if (this.playing) {
      if (this.follower) this.align();
      this.changed();
    }
    this.watching = requestAnimationFrame(this.watch);
  };

  align() {
    const ahead = this.follower.currentTime - this.leader.currentTime;
    if (Math.abs(ahead) > JUMP_SECONDS && !this.follower.seeking) this.follower.currentTime = this.leader.currentTime;
    this.follower.playbackRate = Math.abs(ahead) < STEP_SECONDS ? 1 : Math.min(Math.max(1 - 2 * ahead, 0.5), 2);
    if (this.follower.paused && !this.follower.ended) this.follower.play().catch(() => {});
  }
}
