# The process that works: what the command `sidekiq` does, once the runner says so.
require "sidekiq/cli"
require_relative "link"

Sidekiq.configure_server { |config| config.redis = {url: REDIS, size: SETUP["concurrency"] + 10} }
cli = Sidekiq::CLI.instance
cli.parse(["-r", File.join(__dir__, "jobs.rb"), "-c", SETUP["concurrency"].to_s, "-q", "default"])
Sidekiq.logger.level = Logger::WARN
Sidekiq.redis(&:ping)
say({event: "ready"})
exit!(0) unless $stdin.gets
# When the runner is gone, so is this process.
Thread.new { $stdin.read; exit!(0) }
cli.run
