# The handlers: they count, keep how soon they started, and take their time.
require "sidekiq"

# As of Debian's two versions, a line for each push.
Redis.silence_deprecations = true

require_relative "link"

module Seen
  @lock = Mutex.new
  @ended = 0
  @latencies_us = []

  def self.run(job)
    @first ||= clock
    @latencies_us << [0, now_us - job["sent_us"]].max if SETUP["latencies"]
    say({event: "started", job: job["n"]}) if SETUP["journal"]
    sleep(SETUP["sleep_ms"] / 1000.0) if SETUP["sleep_ms"] > 0
    say({event: "finished", job: job["n"]}) if SETUP["journal"]
    all = @lock.synchronize { (@ended += 1) == SETUP["jobs"] }
    say({event: "all", seconds: clock - @first, latencies_us: @latencies_us}) if all
  end
end

KINDS = %w[BenchPost BenchSync BenchCleanup BenchRefresh].map do |name|
  handler = Class.new do
    include Sidekiq::Worker

    def perform(job)
      Seen.run(job)
    end
  end
  Object.const_set(name, handler)
end
